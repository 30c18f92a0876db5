//! An issuer of the test's own: serves its keys on loopback, or fails in every way.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How it answers.
#[derive(Clone)]
pub(super) enum Answer {
    Keys(Vec<Value>),
    /// These bytes as they are, then the end.
    Raw(Vec<u8>),
    /// Nothing, for ever.
    Hang,
}

/// Ends when dropped.
pub(super) struct Issuer {
    pub(super) url: String,
    answer: Arc<Mutex<Answer>>,
    asked: watch::Receiver<usize>,
    task: AbortHandle,
}

impl Issuer {
    pub(super) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(answer));
        let (count, asked) = watch::channel(0);
        let task = tokio::spawn(serve(listener, answer.clone(), count)).abort_handle();
        Self { url, answer, asked, task }
    }

    pub(super) fn answer(&self, answer: Answer) {
        *self.answer.lock() = answer;
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> usize {
        *self.asked.borrow()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, answer: Arc<Mutex<Answer>>, count: watch::Sender<usize>) {
    // Connections that hang are kept open until the issuer is dropped.
    let mut hanging = Vec::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        if !read_head(&mut stream).await {
            continue;
        }
        count.send_modify(|count| *count += 1);
        let answer = answer.lock().clone();
        let bytes = match answer {
            Answer::Keys(keys) => {
                let body = json!({ "keys": keys }).to_string();
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
            }
            Answer::Raw(bytes) => bytes,
            Answer::Hang => {
                hanging.push(stream);
                continue;
            }
        };
        // The other side may have given up.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
    }
}

/// Whether a request came, as it should.
async fn read_head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 8 << 10 || stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    head.starts_with(b"GET /keys HTTP/1.1\r\n")
}
