//! Names of images and digests of content, as the distribution and image specifications write them.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

/// The name of an image with its registry and a tag: `registry.k8s.io/coredns/coredns:v1.14.6`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The registry's host, with its port if it has one.
    pub registry: String,
    /// The repository there.
    pub repository: String,
    /// The tag.
    pub tag: String,
}

/// A text that is no name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no whole name of an image: write it as registry.k8s.io/pause:3.10")]
pub struct BadReference(String);

/// A repository (distribution-spec 1.1, pulling manifests): components of lower-case letters and digits, with single
/// separators.
pub(crate) fn is_repository(text: &str) -> bool {
    let component = |part: &str| {
        let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let bytes = part.as_bytes();
        let plain =
            |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
        edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(plain) && !part.contains("..")
    };
    text.len() < 256 && text.split('/').all(component)
}

/// A tag (distribution-spec 1.1, pulling manifests).
pub(crate) fn is_tag(text: &str) -> bool {
    let bytes = text.as_bytes();
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    bytes.first().is_some_and(word)
        && bytes.len() <= 128
        && bytes.iter().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        let bad = || BadReference(text.to_owned());
        let (registry, rest) = text.split_once('/').ok_or_else(bad)?;
        let (repository, tag) = rest.rsplit_once(':').ok_or_else(bad)?;
        // Without a point or a port a first component is a repository's (of Docker Hub), by every client's rule.
        let host = registry.contains(['.', ':']) || registry == "localhost";
        let plain = registry.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
        if host && plain && is_repository(repository) && is_tag(tag) {
            let [registry, repository, tag] = [registry, repository, tag].map(str::to_owned);
            Ok(Self { registry, repository, tag })
        } else {
            Err(bad())
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

/// `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// A text that is no SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no digest: it is sha256: and 64 hexadecimal digits")]
pub struct BadDigest(String);

const ALGORITHM: &str = "sha256:";

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        digest::digest(&digest::SHA256, bytes).into()
    }

    /// The digits: the name of the content's file.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0[ALGORITHM.len()..]
    }
}

impl From<digest::Digest> for Digest {
    fn from(hash: digest::Digest) -> Self {
        Self(hash.as_ref().iter().fold(ALGORITHM.to_owned(), |text, byte| format!("{text}{byte:02x}")))
    }
}

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let digits = text.strip_prefix(ALGORITHM).unwrap_or_default();
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() == 64 && digits.bytes().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadDigest(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = BadDigest;

    fn try_from(text: String) -> Result<Self, BadDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_whole() {
        for text in ["registry.k8s.io/coredns/coredns:v1.14.6", "localhost:5000/a:1", "localhost/a/b_c.d:x-Y_1"] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "pause",
            "pause:3.10",
            "library/pause:1",
            "a.io/pause",
            "a.io/Pause:1",
            "a.io/../x:1",
            "a.io/x:",
            "a.io/x:-1",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_digest_is_of_its_form() {
        // FIPS 180-4, the empty message.
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
        for text in ["", "sha256:", &empty[..70], &empty.to_uppercase(), "sha512:e3b0", "../../etc/passwd"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
