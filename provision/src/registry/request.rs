//! What is asked for: paths of the distribution API, and ranges of bytes.

use http::{HeaderMap, Uri, header};

use crate::image::{Digest, is_repository, is_tag};

/// A request of the pulling API (distribution-spec 1.1, endpoints).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Is this a registry?
    Base,
    /// The repositories.
    Catalog,
    /// The tags of a repository.
    Tags(String),
    /// A manifest of a repository, by tag or digest.
    Manifest(String, Named),
    /// Content of a repository.
    Blob(String, Digest),
}

/// How a manifest is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Tag(String),
    Digest(Digest),
}

/// Why a path asks for nothing: an error code of the specification.
pub(super) type Code = &'static str;

/// What a path asks for; `None` where it is not of the API.
pub(super) fn wanted(path: &str) -> Option<Result<Wanted, Code>> {
    let rest = path.strip_prefix("/v2")?;
    match rest {
        "" | "/" => return Some(Ok(Wanted::Base)),
        "/_catalog" => return Some(Ok(Wanted::Catalog)),
        _ => {}
    }
    let rest = rest.strip_prefix('/')?;
    let repository = |name: &str| if is_repository(name) { Ok(name.to_owned()) } else { Err("NAME_INVALID") };
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Some(repository(name).map(Wanted::Tags));
    }
    let (front, last) = rest.rsplit_once('/')?;
    let digest = |text: &str| text.parse::<Digest>().map_err(|_| "DIGEST_INVALID");
    if let Some(name) = front.strip_suffix("/manifests") {
        let named = match last {
            tag if is_tag(tag) => Ok(Named::Tag(tag.to_owned())),
            text => digest(text).map(Named::Digest).map_err(|_| "MANIFEST_INVALID"),
        };
        return Some(repository(name).and_then(|name| Ok(Wanted::Manifest(name, named?))));
    }
    let name = front.strip_suffix("/blobs")?;
    Some(repository(name).and_then(|name| Ok(Wanted::Blob(name, digest(last)?))))
}

/// A parameter of the query.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
}

/// The part of a content of `size` bytes that is asked for (RFC 9110 section 14): all of it unless there is one good
/// range.
///
/// # Errors
/// If the range begins behind the end.
pub(super) fn range(headers: &HeaderMap, size: u64) -> Result<Option<(u64, u64)>, ()> {
    // Several ranges, or units that are not known, may be passed over, and all of it sent.
    let Some(text) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()?.strip_prefix("bytes=")) else {
        return Ok(None);
    };
    let Some((first, last)) = text.split_once('-').map(|(first, last)| (first.trim(), last.trim())) else {
        return Ok(None);
    };
    let end = size.saturating_sub(1);
    let asked = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if last < first => return Ok(None),
        (Ok(first), Ok(last)) => (first, last.min(end)),
        (Ok(first), Err(_)) if last.is_empty() => (first, end),
        (Err(_), Ok(0)) if first.is_empty() => return Err(()),
        (Err(_), Ok(length)) if first.is_empty() => (size.saturating_sub(length), end),
        _ => return Ok(None),
    };
    if asked.0 < size { Ok(Some(asked)) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let hash = Digest::of(b"");
        let name = || "coredns/coredns".to_owned();
        for (path, found) in [
            ("/v2/".to_owned(), Ok(Wanted::Base)),
            ("/v2".to_owned(), Ok(Wanted::Base)),
            ("/v2/_catalog".to_owned(), Ok(Wanted::Catalog)),
            ("/v2/coredns/coredns/tags/list".to_owned(), Ok(Wanted::Tags(name()))),
            ("/v2/coredns/coredns/manifests/v1".to_owned(), Ok(Wanted::Manifest(name(), Named::Tag("v1".to_owned())))),
            (
                format!("/v2/coredns/coredns/manifests/{hash}"),
                Ok(Wanted::Manifest(name(), Named::Digest(hash.clone()))),
            ),
            (format!("/v2/coredns/coredns/blobs/{hash}"), Ok(Wanted::Blob(name(), hash.clone()))),
            // A repository may be called as a part of the path is.
            (
                "/v2/manifests/manifests/x".to_owned(),
                Ok(Wanted::Manifest("manifests".to_owned(), Named::Tag("x".to_owned()))),
            ),
            ("/v2/../manifests/x".to_owned(), Err("NAME_INVALID")),
            ("/v2/a/blobs/sha256:..".to_owned(), Err("DIGEST_INVALID")),
            ("/v2/a/manifests/sha256:12".to_owned(), Err("MANIFEST_INVALID")),
        ] {
            assert_eq!(wanted(&path), Some(found), "{path}");
        }
        for path in ["/", "/v1/", "/v2x", "/v2/a", "/v2/a/b/c", "/v2//"] {
            assert_eq!(wanted(path), None, "{path}");
        }
    }

    #[test]
    fn ranges_are_those_of_http() {
        let of = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RANGE, text.parse().unwrap())]);
            range(&headers, 10)
        };
        for (text, found) in [
            ("bytes=0-3", Ok(Some((0, 3)))),
            ("bytes=4-", Ok(Some((4, 9)))),
            ("bytes=4-400", Ok(Some((4, 9)))),
            ("bytes=-3", Ok(Some((7, 9)))),
            ("bytes=-30", Ok(Some((0, 9)))),
            ("bytes=10-", Err(())),
            ("bytes=-0", Err(())),
            ("bytes=3-1", Ok(None)),
            ("bytes=0-1,4-5", Ok(None)),
            ("lines=0-1", Ok(None)),
        ] {
            assert_eq!(of(text), found, "{text}");
        }
        assert_eq!(range(&HeaderMap::new(), 10), Ok(None));
    }
}
