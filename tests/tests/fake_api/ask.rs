//! What a request asks for, as one line such as `patch demo/configmaps/thanos-query-global-endpoints`.

use std::fmt;

use http::{
    Method, Request,
    header::{ACCEPT, CONTENT_TYPE},
};

/// A request without its body.
#[derive(Clone, Debug)]
pub struct Ask {
    /// `get`, `list`, `watch`, `patch`, `post`, `delete`, or `discover` for which kinds there are, `ask` for
    /// the version.
    pub verb: &'static str,
    /// None: all namespaces.
    pub namespace: Option<String>,
    /// Such as `services`; group and version when these are asked which kinds they have.
    pub plural: String,
    /// None for lists, watches and posts.
    pub name: Option<String>,
    /// `status`, when only that is meant.
    pub part: Option<String>,
    /// What follows after the part: the path that a pod is asked for.
    pub rest: String,
    /// Of the body.
    pub content_type: String,
    /// Only metadata is wanted.
    pub metadata_only: bool,
    parameters: Vec<(String, String)>,
}

// === impl Ask ===

impl Ask {
    /// Reads method, path, query and headers.
    pub fn of<B>(request: &Request<B>) -> Self {
        let parameters: Vec<(String, String)> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), decoded(value)))
            .collect();
        let mut path = request.uri().path().split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        // `/api/<version>/…` or `/apis/<group>/<version>/…`; `/version` has nothing more.
        let first = path.next();
        let parts = if first.as_deref() == Some("api") { 1 } else { 2 };
        let version: Vec<String> = match first.as_deref() {
            Some("version") => vec!["version".to_owned()],
            _ => path.by_ref().take(parts).collect(),
        };
        let plural = path.next();
        let is_discovery = plural.is_none();
        let mut plural = plural.unwrap_or_else(|| version.join("/"));
        let mut namespace = None;
        let mut name = None;
        if plural == "namespaces" {
            let within = path.next();
            match path.next() {
                Some(kind) => (namespace, plural) = (within, kind),
                // Namespaces themselves, or one of them.
                None => name = within,
            }
        }
        let name = name.or_else(|| path.next());
        let is_watch = parameters.iter().any(|(key, value)| key == "watch" && value == "true");
        let verb = match *request.method() {
            Method::GET if is_discovery && plural == "version" => "ask",
            Method::GET if is_discovery => "discover",
            Method::GET if is_watch => "watch",
            Method::GET if name.is_some() => "get",
            Method::GET => "list",
            Method::PATCH => "patch",
            Method::POST => "post",
            Method::DELETE => "delete",
            _ => "unknown",
        };
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        Self {
            verb,
            namespace,
            plural,
            name,
            part: path.next(),
            rest: path.collect::<Vec<_>>().join("/"),
            content_type: header(CONTENT_TYPE).unwrap_or_default().to_owned(),
            metadata_only: header(ACCEPT).is_some_and(|accept| accept.contains("as=PartialObjectMetadata")),
            parameters,
        }
    }

    /// A parameter of the query.
    pub fn parameter(&self, wanted: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.verb)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.plural)?;
        for part in self.name.iter().chain(&self.part) {
            write!(f, "/{part}")?;
        }
        Ok(())
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).unwrap_or(0);
                let value = digit() * 16 + digit();
                bytes.push(u8::try_from(value).expect("two digits"));
            }
            b'+' => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).expect("a query in UTF-8")
}
