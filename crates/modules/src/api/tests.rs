//! The API's table and its description.

use super::openapi::describe;
use super::{ENDPOINTS, fits, show};
use crate::testing::error;

#[test]
fn paths_are_found_in_the_table() {
    let find = |path: &str| {
        let segments: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
        ENDPOINTS.iter().find(|it| fits(it.path, &segments)).map(|it| it.path)
    };
    assert_eq!(find(""), Some("/"));
    assert_eq!(find("http/upstreams/u/servers/3"), Some("/http/upstreams/{upstream}/servers/{id}"));
    assert_eq!(find("http/upstreams/u/servers/3/x"), None);
    assert_eq!(find("stream"), None);
}

#[test]
fn folders_list_what_is_in_them() {
    assert_eq!(show::folder("/").to_string(), r#"["nginx","processes","connections","http"]"#);
    assert_eq!(show::folder("/http").to_string(), r#"["requests","server_zones","location_zones","caches","shield","upstreams"]"#);
}

#[test]
fn the_description_names_every_path() {
    let text = describe().to_string();
    for endpoint in ENDPOINTS {
        assert!(text.contains(&format!("\"{}\":", endpoint.path)), "{}", endpoint.path);
    }
    assert!(text.contains("\"patch\"") && text.contains("\"requestBody\""));
}

#[test]
fn mistakes_are_told() {
    assert_eq!(error("server { location / { api write=yes; } }"), "invalid parameter \"write=yes\"");
    assert_eq!(error("server { location / { api; api; } }"), "\"api\" directive is duplicate");
}
