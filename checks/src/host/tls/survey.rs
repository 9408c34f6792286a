//! What a server would speak: every version, cipher suite and group that it accepts, found by offering them.
//!
//! One suite is found per connection: the server picks one of those that are offered, that one is left out the next
//! time, and so on until it picks none. A Go server takes about twenty connections. Nothing is computed and no
//! handshake is finished; the server's log has a line about each ("TLS handshake error: EOF").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hello::{BadFlight, ClientHello, Flight, Version};
use super::suites::{GROUPS, SCHEMES, SHA1_SCHEMES, SUITES, SUITES_13, group_name, suite_name};

/// What a server accepts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Survey {
    /// The first line of its answer, where it speaks HTTP without TLS.
    pub plain: Option<String>,
    /// Cipher suites by the version that they are accepted in, in the order in which the server picked them.
    pub suites: BTreeMap<Version, Vec<String>>,
    /// Groups of TLS 1.3, in the order in which the server picked them.
    pub groups: Vec<String>,
    /// Does it sign with SHA-1, if nothing else is offered?
    pub signs_sha1: bool,
    /// Does it sign with nothing but SHA-1?
    pub only_sha1: bool,
    /// Why it is not complete, if it is not.
    pub cut: Option<String>,
}

impl Survey {
    /// Is a version accepted?
    #[must_use]
    pub fn accepts(&self, version: Version) -> bool {
        self.suites.contains_key(&version)
    }
}

/// How much of the server's flight is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The ServerHello.
    Hello,
    /// All of it that can be read.
    End,
}

/// Why a server said nothing that helps.
#[derive(Debug)]
pub(super) enum Mute {
    /// It answered, and not with TLS.
    Other(BadFlight),
    /// It could not be asked; says why.
    Lost(String),
}

/// Asks about everything. `ask` makes a connection of its own for each ClientHello; a server that closes it has
/// refused.
pub(super) fn survey(mut ask: impl FnMut(&ClientHello<'_>, Until) -> Result<Flight, Mute>) -> Survey {
    let mut found = Survey::default();
    match look(&mut ask, &mut found) {
        Ok(()) => {}
        Err(Mute::Other(BadFlight::Http(line))) => found.plain = Some(line),
        Err(Mute::Other(other)) => found.cut = Some(other.to_string()),
        Err(Mute::Lost(why)) => found.cut = Some(why),
    }
    found
}

fn look(ask: &mut impl FnMut(&ClientHello<'_>, Until) -> Result<Flight, Mute>, found: &mut Survey) -> Result<(), Mute> {
    let ids = |table: &[(u16, &str)]| table.iter().map(|row| row.0).collect::<Vec<_>>();
    let groups = ids(GROUPS);
    for version in Version::ALL.into_iter().rev() {
        let mut left = ids(if version == Version::Tls13 { SUITES_13 } else { SUITES });
        while let Some(suite) = choice(ask, version, &left, &groups)? {
            left.retain(|other| *other != suite);
            found.suites.entry(version).or_default().push(suite_name(suite));
        }
    }
    if found.accepts(Version::Tls13) {
        let mut left = groups.clone();
        let suites = ids(SUITES_13);
        while !left.is_empty() {
            let hello = hello(Version::Tls13, &suites, &left, SCHEMES);
            let flight = ask(&hello, Until::Hello)?;
            let Some(group) = flight.hello.and_then(|hello| hello.group).filter(|group| left.contains(group)) else {
                break;
            };
            left.retain(|other| *other != group);
            found.groups.push(group_name(group));
        }
    }
    if found.accepts(Version::Tls12) {
        let suites = ids(SUITES);
        let mut signs = |schemes: &[u16]| -> Result<bool, Mute> {
            let flight = ask(&hello(Version::Tls12, &suites, &groups, schemes), Until::End)?;
            Ok(flight.hello.is_some() && flight.alert.is_none() && flight.complete)
        };
        let modern: Vec<_> = SCHEMES.iter().copied().filter(|scheme| !SHA1_SCHEMES.contains(scheme)).collect();
        found.signs_sha1 = signs(SHA1_SCHEMES)?;
        found.only_sha1 = found.signs_sha1 && !signs(&modern)?;
    }
    Ok(())
}

fn hello<'a>(version: Version, suites: &'a [u16], groups: &'a [u16], schemes: &'a [u16]) -> ClientHello<'a> {
    ClientHello { version, suites, groups, schemes, name: None, random: super::random() }
}

/// Which of the suites the server picks in exactly this version.
fn choice(
    ask: &mut impl FnMut(&ClientHello<'_>, Until) -> Result<Flight, Mute>,
    version: Version,
    suites: &[u16],
    groups: &[u16],
) -> Result<Option<u16>, Mute> {
    if suites.is_empty() {
        return Ok(None);
    }
    let flight = ask(&hello(version, suites, groups, SCHEMES), Until::Hello)?;
    // A server may answer with another version or a suite that nobody offered; neither counts, nor is it asked again.
    let picked = flight.hello.filter(|hello| hello.version == version.code() && suites.contains(&hello.suite));
    Ok(picked.map(|hello| hello.suite))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tls::hello::ServerHello;

    /// A server that takes these, by its own preference.
    fn server(
        versions: &'static [Version],
        suites: &'static [u16],
        groups: &'static [u16],
        schemes: &'static [u16],
    ) -> impl FnMut(&ClientHello<'_>, Until) -> Result<Flight, Mute> {
        move |hello, until| {
            let suite = suites.iter().find(|suite| hello.suites.contains(suite));
            let group = groups.iter().find(|group| hello.groups.contains(group)).copied();
            let refused = Flight { alert: Some(40), complete: true, ..Flight::default() };
            let (Some(&suite), true) = (suite, versions.contains(&hello.version)) else { return Ok(refused) };
            if hello.version == Version::Tls13 && group.is_none() {
                return Ok(refused);
            }
            let signs = schemes.iter().any(|scheme| hello.schemes.contains(scheme));
            let chosen = ServerHello { version: hello.version.code(), suite, group, retry: true };
            let alert = (until == Until::End && !signs).then_some(40);
            Ok(Flight { hello: Some(chosen), alert, complete: true, ..Flight::default() })
        }
    }

    #[test]
    fn everything_that_is_accepted_is_found_in_the_servers_order() {
        let found = survey(server(
            &[Version::Tls12, Version::Tls13],
            &[0x1302, 0x1301, 0xc02f, 0xc013],
            &[0x11ec, 29],
            &[0x0804, 0x0201],
        ));
        assert_eq!(found.suites[&Version::Tls13], ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"]);
        assert_eq!(
            found.suites[&Version::Tls12],
            ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"]
        );
        assert_eq!(found.groups, ["X25519MLKEM768", "x25519"]);
        assert!(found.signs_sha1 && !found.only_sha1 && found.cut.is_none() && !found.accepts(Version::Tls11));
    }

    #[test]
    fn a_server_of_the_last_century_is_known() {
        let found = survey(server(&[Version::Ssl3, Version::Tls10, Version::Tls12], &[0x0005], &[], &[0x0201]));
        assert_eq!(found.suites.keys().copied().collect::<Vec<_>>(), [Version::Ssl3, Version::Tls10, Version::Tls12]);
        assert!(found.only_sha1);
    }

    #[test]
    fn plain_http_and_silence_are_said() {
        let http = || BadFlight::Http("HTTP/1.1 400 Bad Request".to_owned());
        assert_eq!(survey(|_, _| Err(Mute::Other(http()))).plain.as_deref(), Some("HTTP/1.1 400 Bad Request"));
        assert_eq!(survey(|_, _| Err(Mute::Lost("gone".into()))).cut.as_deref(), Some("gone"));
        // A server that repeats what was not offered does not keep us.
        let stubborn = survey(|hello, _| {
            let chosen = ServerHello { version: hello.version.code(), suite: 0xfafa, group: Some(1), retry: true };
            Ok(Flight { hello: Some(chosen), ..Flight::default() })
        });
        assert!(stubborn.suites.is_empty());
    }
}
