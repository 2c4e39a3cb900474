//! A client of tonic: each kind of call in one line.

use std::time::Duration;

use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::bytes_codec::Plain;

/// No call of these tests takes as long, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection.
pub(crate) struct Caller {
    channel: Channel,
}

type Told<T> = Result<T, Status>;

impl Caller {
    pub(crate) async fn connect(port: u16) -> Caller {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"));
        let endpoint = endpoint.expect("because it is a URL").timeout(PATIENCE);
        Caller { channel: endpoint.connect().await.expect("because the server listens") }
    }

    async fn grpc(&self) -> Grpc<Channel> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.expect("because it is connected");
        grpc
    }

    async fn one(&self, method: &'static str, request: Request<Vec<u8>>) -> Told<Vec<u8>> {
        let path = PathAndQuery::from_static(method);
        Ok(self.grpc().await.unary(request, path, Plain).await?.into_inner())
    }

    pub(crate) async fn unary(&self, message: &[u8]) -> Told<Vec<u8>> {
        self.one("/t.T/Echo", Request::new(message.to_vec())).await
    }

    pub(crate) async fn fail(&self) -> Status {
        self.one("/t.T/Fail", Request::new(Vec::new())).await.expect_err("because it fails")
    }

    pub(crate) async fn unknown(&self) -> Status {
        self.one("/t.T/None", Request::new(Vec::new())).await.expect_err("because there is none")
    }

    /// A call that nobody answers, with a deadline.
    pub(crate) async fn late(&self, deadline: Duration) -> Status {
        let mut request = Request::new(Vec::new());
        request.set_timeout(deadline);
        self.one("/t.T/Hang", request).await.expect_err("because nobody answers")
    }

    /// A call that nobody answers is given up, and then one that has been answered in part.
    pub(crate) async fn leave_in_the_middle(&self) {
        let hanging = self.one("/t.T/Hang", Request::new(Vec::new()));
        _ = tokio::time::timeout(Duration::from_millis(300), hanging).await;
    }

    pub(crate) async fn leave_a_stream(&self) {
        let begun = self.stream("/t.T/Hold", b"x").await;
        let (_to, mut answers) = begun.expect("because it is answered");
        assert_eq!(answers.message().await.expect("because it is echoed").as_deref(), Some(&b"x"[..]));
    }

    pub(crate) async fn server_streams(&self, message: &[u8]) -> Told<Vec<String>> {
        let path = PathAndQuery::from_static("/t.T/Count");
        let request = Request::new(message.to_vec());
        collect(self.grpc().await.server_streaming(request, path, Plain).await?.into_inner()).await
    }

    pub(crate) async fn client_streams(&self, messages: &[&[u8]]) -> Told<String> {
        let path = PathAndQuery::from_static("/t.T/Sum");
        let request = Request::new(tokio_stream::iter(owned(messages)));
        let answer = self.grpc().await.client_streaming(request, path, Plain).await?.into_inner();
        Ok(text(&answer))
    }

    pub(crate) async fn both_stream(&self, messages: &[&[u8]]) -> Told<Vec<String>> {
        let path = PathAndQuery::from_static("/t.T/Echo");
        let request = Request::new(tokio_stream::iter(owned(messages)));
        collect(self.grpc().await.streaming(request, path, Plain).await?.into_inner()).await
    }

    /// Sends each message when the one before has come back; how many have.
    pub(crate) async fn ping_pong(&self, n: u32) -> Told<u32> {
        let (to, mut answers) = self.stream("/t.T/Echo", b"0").await?;
        let mut came = 0;
        for i in 0..n {
            let message = i.to_string().into_bytes();
            if i > 0 {
                to.send(message.clone()).await.map_err(|_| Status::internal("not taken"))?;
            }
            came += u32::from(answers.message().await? == Some(message));
        }
        drop(to);
        assert_eq!(answers.message().await?, None);
        Ok(came)
    }

    /// Some servers say nothing before they have a message to answer with, so that one goes out first.
    async fn stream(
        &self,
        method: &'static str,
        first: &[u8],
    ) -> Told<(mpsc::Sender<Vec<u8>>, Streaming<Vec<u8>>)> {
        let (to, messages) = mpsc::channel(1);
        to.try_send(first.to_vec()).map_err(|_| Status::internal("not taken"))?;
        let request = Request::new(ReceiverStream::new(messages));
        let path = PathAndQuery::from_static(method);
        let answers = self.grpc().await.streaming(request, path, Plain).await?.into_inner();
        Ok((to, answers))
    }
}

async fn collect(mut messages: Streaming<Vec<u8>>) -> Told<Vec<String>> {
    let mut all = Vec::new();
    while let Some(message) = messages.message().await? {
        all.push(text(&message));
    }
    Ok(all)
}

fn owned(messages: &[&[u8]]) -> Vec<Vec<u8>> {
    messages.iter().map(|it| it.to_vec()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
