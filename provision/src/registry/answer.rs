//! What the registry says.

use std::collections::BTreeSet;
use std::io::SeekFrom;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::request::{Code, Named, Wanted, parameter, range, wanted};
use crate::image::{Blob, Digest, ImageError, MANIFEST, Reference, Store};

type Body = BoxBody<Bytes, std::io::Error>;

/// How much of a blob is read at once.
const PIECE: usize = 256 << 10;

/// Why there is no content: a status and an error of the specification (distribution-spec 1.1, error codes).
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    code: Code,
    message: String,
}

fn unknown(code: Code, message: impl Into<String>) -> Refused {
    Refused { status: StatusCode::NOT_FOUND, code, message: message.into() }
}

impl From<ImageError> for Refused {
    fn from(error: ImageError) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "UNKNOWN", message: error.to_string() }
    }
}

impl From<std::io::Error> for Refused {
    fn from(error: std::io::Error) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "UNKNOWN", message: error.to_string() }
    }
}

pub(super) async fn answer(store: &Store, request: &Request<Incoming>) -> Response<Body> {
    let mut response = match content(store, request).await {
        Ok(response) => response,
        Err(Refused { status, code, message }) => {
            let errors = json!({ "errors": [{ "code": code, "message": message }] });
            let mut response = text(status, "application/json", errors.to_string());
            if status == StatusCode::METHOD_NOT_ALLOWED {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            response
        }
    };
    response.headers_mut().insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    if request.method() == Method::HEAD {
        // The length stays what the content's would be (RFC 9110 section 9.3.2).
        *response.body_mut() = Empty::new().map_err(|never| match never {}).boxed();
    }
    response
}

async fn content(store: &Store, request: &Request<Incoming>) -> Result<Response<Body>, Refused> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let message = "this registry is only read".to_owned();
        return Err(Refused { status: StatusCode::METHOD_NOT_ALLOWED, code: "UNSUPPORTED", message });
    }
    let path = request.uri().path();
    let wanted =
        wanted(path).ok_or_else(|| unknown("UNSUPPORTED", format!("{path} is not of the distribution API")))?;
    let wanted = wanted.map_err(|code| Refused {
        status: StatusCode::BAD_REQUEST,
        code,
        message: format!("{path} has no good name"),
    })?;
    let meant = |reference: &Reference, name: &str| {
        reference.repository == name
            && parameter(request.uri(), "ns").is_none_or(|registry| registry == reference.registry)
    };
    match wanted {
        Wanted::Base => Ok(object(&json!({}))),
        Wanted::Catalog => {
            let names: BTreeSet<_> = store.references()?.into_keys().map(|reference| reference.repository).collect();
            Ok(page(request, "repositories", None, names))
        }
        Wanted::Tags(name) => {
            let all = store.references()?.into_keys().filter(|reference| meant(reference, &name));
            let tags: BTreeSet<_> = all.map(|reference| reference.tag).collect();
            if tags.is_empty() {
                return Err(unknown("NAME_UNKNOWN", format!("there is no repository {name}")));
            }
            Ok(page(request, "tags", Some(&name), tags))
        }
        Wanted::Manifest(name, named) => {
            let mut all = store.references()?.into_iter();
            let of = |reference: &Reference, digest: &Digest| {
                meant(reference, &name)
                    && match &named {
                        Named::Tag(tag) => *tag == reference.tag,
                        Named::Digest(wanted) => wanted == digest,
                    }
            };
            let found = all.find(|(reference, manifest)| of(reference, &manifest.digest));
            let manifest =
                found.ok_or_else(|| unknown("MANIFEST_UNKNOWN", format!("there is no such image of {name}")))?.1;
            let blob = store.blob(&manifest.digest)?;
            let blob = blob.ok_or_else(|| unknown("MANIFEST_UNKNOWN", format!("{} is lost", manifest.digest)))?;
            stream(request, &manifest.digest, MANIFEST, blob).await
        }
        // Any blob is in any repository: they are the same bytes under each name.
        Wanted::Blob(_, digest) => {
            let blob = store.blob(&digest)?.ok_or_else(|| unknown("BLOB_UNKNOWN", format!("there is no {digest}")))?;
            stream(request, &digest, "application/octet-stream", blob).await
        }
    }
}

fn text(status: StatusCode, media_type: &'static str, text: String) -> Response<Body> {
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response
}

fn object(value: &Value) -> Response<Body> {
    text(StatusCode::OK, "application/json", value.to_string())
}

/// A list, or of a long one the part that `n` and `last` ask for, with a link to the next.
fn page(request: &Request<Incoming>, key: &str, name: Option<&str>, all: BTreeSet<String>) -> Response<Body> {
    let uri = request.uri();
    let last = parameter(uri, "last").unwrap_or_default();
    let most = parameter(uri, "n").and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    let mut rest = all.into_iter().filter(|one| *one > last).peekable();
    let listed: Vec<_> = rest.by_ref().take(most).collect();
    let mut value = json!({ key: listed });
    if let Some(name) = name {
        value["name"] = name.into();
    }
    let mut response = object(&value);
    if let (Some(last), true) = (listed.last(), rest.peek().is_some()) {
        let link = format!("<{}?n={most}&last={}>; rel=\"next\"", uri.path(), last.replace('/', "%2F"));
        response.headers_mut().extend(HeaderValue::try_from(link).ok().map(|link| (header::LINK, link)));
    }
    response
}

async fn stream(
    request: &Request<Incoming>,
    digest: &Digest,
    media_type: &'static str,
    blob: Blob,
) -> Result<Response<Body>, Refused> {
    let Blob { file, size } = blob;
    let asked = range(request.headers(), size).map_err(|()| Refused {
        status: StatusCode::RANGE_NOT_SATISFIABLE,
        code: "RANGE_INVALID",
        message: format!("there are {size} bytes"),
    })?;
    let (first, length) = asked.map_or((0, size), |(first, last)| (first, last + 1 - first));
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(first)).await?;
    let frames = ReaderStream::with_capacity(file.take(length), PIECE).map_ok(Frame::data);
    let mut response = Response::new(StreamBody::new(frames).boxed());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let text = HeaderValue::try_from(digest.to_string()).expect("a digest is plain ASCII");
    headers.insert("docker-content-digest", text);
    if let Some((first, last)) = asked {
        let range = HeaderValue::try_from(format!("bytes {first}-{last}/{size}")).expect("numbers are plain ASCII");
        headers.insert(header::CONTENT_RANGE, range);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}
