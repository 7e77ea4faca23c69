//! Requests as rows of tables.
//!
//! Texts may hold placeholders, which are filled in when the request is sent: `{host}`, `{token}` (a registry token that
//! may pull, push and delete in [`REPOSITORY`]), `{access}` (an access token), `{dev-secret}` (which opens the development issuer), `{upload}` (the path of an upload that was
//! just opened), and of an image that is there: `{blob}`, `{config}` and `{manifest}`, its digests, `{blob-size}`,
//! `{config-size}`. `{zero}` is the digest of something that is nowhere.

use std::fmt;

use crate::forge::Forge;

/// The repository that every table attacks. It holds one image, `latest`.
pub(crate) const REPOSITORY: &str = "hostile/one";

/// Who asks.
pub(crate) enum Caller {
    /// The holder of `{token}`.
    Pusher,
    /// Nobody.
    Nobody,
    /// The holder of a token that is made when the request is sent.
    Forger(Box<dyn Fn(&Forge) -> String + Send + Sync>),
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pusher => "Pusher",
            Self::Nobody => "Nobody",
            Self::Forger(_) => "Forger",
        })
    }
}

/// A request before its placeholders are filled in.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) caller: Caller,
    /// Sent as it is, with nothing around it.
    pub(crate) raw: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.as_bytes().to_vec(),
            target: target.as_ref().to_vec(),
            headers: Vec::new(),
            body: Vec::new(),
            caller: Caller::Pusher,
            raw: None,
        }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body; its length goes into `Content-Length` unless a header says otherwise.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Sends no token.
    pub(crate) fn nobody(mut self) -> Self {
        self.caller = Caller::Nobody;
        self
    }

    /// Sends a token of one's own making.
    pub(crate) fn bearer(mut self, make: impl Fn(&Forge) -> String + Send + Sync + 'static) -> Self {
        self.caller = Caller::Forger(Box::new(make));
        self
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == b"HEAD"
    }
}

pub(crate) fn get(target: impl AsRef<[u8]>) -> Request {
    Request::new("GET", target)
}

pub(crate) fn head(target: impl AsRef<[u8]>) -> Request {
    Request::new("HEAD", target)
}

pub(crate) fn delete(target: impl AsRef<[u8]>) -> Request {
    Request::new("DELETE", target)
}

pub(crate) fn post(target: impl AsRef<[u8]>) -> Request {
    Request::new("POST", target)
}

pub(crate) fn put(target: impl AsRef<[u8]>) -> Request {
    Request::new("PUT", target)
}

pub(crate) fn patch(target: impl AsRef<[u8]>) -> Request {
    Request::new("PATCH", target)
}

/// Bytes as they are; they have to end the connection themselves, with `Connection: close` or by being no request.
pub(crate) fn raw(bytes: impl AsRef<[u8]>) -> Request {
    Request {
        raw: Some(bytes.as_ref().to_vec()),
        ..Request::new("", "")
    }
}
