//! One signed exchange over a socket of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::daemon::daemon;

/// A request before it is signed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// Encoded, in the order in which the signature wants it.
    pub(crate) query: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

impl Request {
    /// A JSON request.
    pub(crate) fn json(action: &str, body: &str) -> Self {
        Self {
            method: "POST",
            path: "/".into(),
            headers: vec![
                ("content-type", "application/x-amz-json-1.0".into()),
                ("x-amz-target", format!("AmazonSQS.{action}")),
            ],
            body: body.into(),
            ..Self::default()
        }
    }

    /// A form.
    pub(crate) fn form(path: &str, body: &str) -> Self {
        Self {
            method: "POST",
            path: path.into(),
            headers: vec![("content-type", "application/x-www-form-urlencoded".into())],
            body: body.into(),
            ..Self::default()
        }
    }

    /// Everything in the target.
    pub(crate) fn get(path: &str, query: &str) -> Self {
        Self { method: "GET", path: path.into(), query: query.into(), ..Self::default() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Signs and sends it, as if through a proxy that ended TLS.
    pub(crate) fn send(mut self) -> Reply {
        self.headers.push(("host", daemon().address.to_string()));
        self.headers.push(("x-amz-date", now()));
        let authorization = self.authorization();
        self.headers.push(("authorization", authorization));
        self.headers.push(("x-forwarded-proto", "https".into()));
        self.exchange()
    }

    /// Sends it as it is.
    pub(crate) fn exchange(self) -> Reply {
        let mut socket = TcpStream::connect(daemon().address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let target = if self.query.is_empty() { self.path } else { format!("{}?{}", self.path, self.query) };
        let mut head = format!("{} {target} HTTP/1.1\r\nconnection: close\r\n", self.method);
        if !self.headers.iter().any(|(name, _)| *name == "host") {
            head += &format!("host: {}\r\n", daemon().address);
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", self.body.len());
        let mut bytes = head.into_bytes();
        bytes.extend(&self.body);
        // A refusal may come, and the connection end, before everything is written.
        let _ = socket.write_all(&bytes);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        read_reply(&answer)
    }

    fn authorization(&self) -> String {
        let mut headers: Vec<_> = self.headers.iter().map(|(name, value)| (*name, value.trim())).collect();
        headers.sort_unstable();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!(
            "{}\n{}\n{}\n{lines}\n{}\n{}",
            self.method,
            self.path,
            self.query,
            names.join(";"),
            hex::encode(Sha256::digest(&self.body))
        );
        let date = headers.iter().find(|(name, _)| *name == "x-amz-date").unwrap().1;
        let scope = format!("{}/us-east-1/sqs/aws4_request", &date[..8]);
        let digest = hex::encode(Sha256::digest(canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
        let secret = format!("AWS4{}", daemon().secret).into_bytes();
        let key = scope.split('/').fold(secret, |key, part| hmac(&key, part));
        let signature = hex::encode(hmac(&key, &to_sign));
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
            daemon().access_key_id,
            names.join(";")
        )
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn read_reply(answer: &[u8]) -> Reply {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a whole head came back");
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let headers: Vec<_> = lines.map(header).collect();
    let reply = Reply { status, headers, body: answer[end + 4..].to_vec() };
    let length: usize = reply.header("content-length").map_or(0, |text| text.parse().unwrap());
    assert_eq!(reply.body.len(), length, "Content-Length says how long the body is");
    reply
}
