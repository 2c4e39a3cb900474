//! GitLab from source: everything through its workhorse on a unix socket, archives and uploads without buffering.

use foregate_testkit::{Certificate, Setup, both, check_on};

use super::application_on_a_socket;

const SITE: &str = "
    upstream gitlab-workhorse { server {app} fail_timeout=0; }
    map $http_upgrade $connection_upgrade_gitlab_ssl { default upgrade; '' close; }
    log_format gitlab_ssl_access '$remote_addr - $remote_user [$time_local] \"$request_method $gitlab_ssl_filtered_request_uri $server_protocol\" $status $body_bytes_sent \"$gitlab_ssl_filtered_http_referer\" \"$http_user_agent\"';
    map $request_uri $gitlab_ssl_temp_request_uri_1 {
        default $request_uri;
        ~(?i)^(?<start>.*)(?<temp>[\\?&]private[\\-_]token)=[^&]*(?<rest>.*)$ \"$start$temp=[FILTERED]$rest\";
    }
    map $gitlab_ssl_temp_request_uri_1 $gitlab_ssl_temp_request_uri_2 {
        default $gitlab_ssl_temp_request_uri_1;
        ~(?i)^(?<start>.*)(?<temp>[\\?&]authenticity[\\-_]token)=[^&]*(?<rest>.*)$ \"$start$temp=[FILTERED]$rest\";
    }
    map $gitlab_ssl_temp_request_uri_2 $gitlab_ssl_filtered_request_uri {
        default $gitlab_ssl_temp_request_uri_2;
        ~(?i)^(?<start>.*)(?<temp>[\\?&]feed[\\-_]token)=[^&]*(?<rest>.*)$ \"$start$temp=[FILTERED]$rest\";
    }
    map $http_referer $gitlab_ssl_filtered_http_referer {
        default $http_referer;
        ~^(?<temp>.*)\\? $temp;
    }
    server {
        listen 127.0.0.1:{port:1} default_server;
        server_name git.test;
        server_tokens off;
        return 301 https://$http_host$request_uri;
        access_log {dir}/gitlab.log gitlab_ssl_access;
    }
    server {
        listen 127.0.0.1:{port:0} default_server;
        server_name git.test;
        server_tokens off;
        ssl_certificate {dir}/git.crt;
        ssl_certificate_key {dir}/git.key;
        ssl_ciphers \"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:!aNULL:!eNULL:!EXPORT:!MD5\";
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_prefer_server_ciphers on;
        ssl_session_cache shared:SSL:10m;
        ssl_session_tickets off;
        ssl_session_timeout 1d;
        real_ip_header X-Real-IP;
        real_ip_recursive off;
        access_log {dir}/gitlab.log gitlab_ssl_access;
        error_log {dir}/gitlab_error.log;

        location / {
            client_max_body_size 0;
            gzip off;
            proxy_read_timeout 300;
            proxy_connect_timeout 300;
            proxy_redirect off;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-Ssl on;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade_gitlab_ssl;
            proxy_pass http://gitlab-workhorse;
        }
        error_page 404 /404.html;
        error_page 422 /422.html;
        error_page 500 /500.html;
        error_page 502 /502.html;
        error_page 503 /503.html;
        location ~ ^/(404|422|500|502|503)\\.html$ { root {dir}/public; internal; }
    }";

#[test]
fn pages_pushes_sockets_and_tokens_in_the_log() {
    both(|subject| {
        let app =
            application_on_a_socket("git", &["Host", "X-Forwarded-Ssl", "X-Forwarded-For", "Connection"]);
        let certificate = Certificate::self_signed(&["git.test"]);
        let setup = Setup::http(SITE)
            .backend("app", &app)
            .file("git.crt", &certificate.cert_pem)
            .file("git.key", &certificate.key_pem)
            .file("public/502.html", "taking a rest");
        let server = setup.start(subject);
        let push = format!("POST /group/app.git/git-receive-pack\nHost: git.test\n\n{}", "x".repeat(2 << 20));
        let cases = [
            ("{port:1} GET /x?y=1\nHost: git.test", "301 | Location: https://git.test/x?y=1"),
            (
                "GET /group/app/-/tree?private_token=abc&x=1\nHost: git.test\nReferer: https://git.test/a?b=c",
                "200 | = git GET /group/app/-/tree?private_token=abc&x=1 Host=git.test X-Forwarded-Ssl=on \
                 X-Forwarded-For=127.0.0.1 Connection=close",
            ),
            (push.as_str(), "200 | ~ git POST /group/app.git/git-receive-pack"),
            ("GET /502.html", "404"),
        ];
        check_on(&server, &cases);
        let mut client = server.connect();
        client.send(
            "GET /-/cable HTTP/1.1\r\nHost: git.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        assert_eq!(client.response().map(|seen| seen.status), Some(101));
        client.send("ping");
        assert_eq!(client.some(), b"ping");
        drop(client);
        let lines = server.log_lines("gitlab.log", 4);
        let line =
            lines.iter().find(|line| line.contains("/group/app/-/tree")).expect("because it was asked for");
        assert!(line.contains("?private_token=[FILTERED]&x=1 HTTP/1.1\" 200"), "{line}");
        assert!(line.contains("\"https://git.test/a\""), "{line}");
        drop(app);
        check_on(&server, &[("GET /group\nHost: git.test", "502 | = taking a rest")]);
    });
}
