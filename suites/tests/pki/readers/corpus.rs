//! The files: every kind of content under every label, with and without header lines, damaged in every way, in every
//! place; and kubeconfigs.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::READERS;
use crate::forge::{self, pem, wrap};

/// A file for one reader.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) reader: &'static str,
    pub(super) file: Vec<u8>,
}

const LABELS: &[&str] = &[
    "CERTIFICATE",
    "X509 CERTIFICATE",
    "TRUSTED CERTIFICATE",
    "CERTIFICATE REQUEST",
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "ED25519 PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "ANY PRIVATE KEY",
    "PUBLIC KEY",
    "RSA PUBLIC KEY",
    "EC PARAMETERS",
    "certificate",
];

/// What Go itself does not make: certificates with a defect, keys with something behind them.
fn defects(made: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let certificate = pem("CERTIFICATE", &made["certificate p256"]);
    let mut edit = |name: &str, change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        all.insert(format!("certificate with {name}"), forge::der(&forge::edit(&certificate, change)));
    };
    // The members of what is signed: version, serial number, algorithm, issuer, validity, subject, key, extensions.
    edit("a negative serial number", &|members| members[1] = wrap(2, &[0x80, 1, 2]));
    edit("the serial number zero", &|members| members[1] = wrap(2, &[0]));
    edit("a padded serial number", &|members| members[1] = wrap(2, &[0, 1]));
    edit("a long serial number", &|members| members[1] = wrap(2, &[1; 24]));
    edit("version 1", &|members| {
        members.remove(0);
        members.pop();
    });
    edit("version 1 and extensions", &|members| drop(members.remove(0)));
    edit("version 4", &|members| members[0] = vec![0xa0, 3, 2, 1, 3]);
    edit("another algorithm inside", &|members| {
        members[2] = wrap(0x30, &wrap(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]));
    });
    let time = |tag: u8, text: &'static [u8]| {
        move |members: &mut Vec<Vec<u8>>| {
            let times = forge::children(&members[4]);
            members[4] = wrap(0x30, &[times[0].clone(), wrap(tag, text)].concat());
        }
    };
    edit("a fraction of a second", &time(0x18, b"20300101000000.5Z"));
    edit("an offset", &time(0x17, b"300101000000+0100"));
    edit("an offset of zero", &time(0x17, b"300101000000+0000"));
    edit("no seconds", &time(0x17, b"3001010000Z"));
    edit("GeneralizedTime before 2050", &time(0x18, b"20300101000000Z"));
    edit("the thirteenth month", &time(0x17, b"301301000000Z"));
    let subject = |tag: u8, value: &'static [u8]| {
        move |members: &mut Vec<Vec<u8>>| {
            let name = [wrap(6, &[0x55, 4, 3]), wrap(tag, value)].concat();
            members[5] = wrap(0x30, &wrap(0x31, &wrap(0x30, &name)));
        }
    };
    edit("an at sign in a PrintableString", &subject(0x13, b"a@b"));
    edit("Latin 1 in a PrintableString", &subject(0x13, b"\xe9"));
    edit("Latin 1 in a UTF8String", &subject(0x0c, b"\xe9"));
    edit("Latin 1 in a T61String", &subject(0x14, b"\xe9"));
    edit("a number for a name", &subject(2, b"\x01"));
    edit("half a BMPString", &subject(0x1e, b"\0a\0"));
    let extend = |oid: &'static [u8], critical: bool, value: Vec<u8>, times: usize| {
        move |members: &mut Vec<Vec<u8>>| {
            let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
            let one = wrap(0x30, &[wrap(6, oid), critical.to_vec(), wrap(4, &value)].concat());
            let list = forge::children(&forge::children(members.last().unwrap())[0]);
            let list = list.into_iter().filter(|known| !known.windows(oid.len()).any(|part| part == oid));
            let list: Vec<_> = list.chain(std::iter::repeat_n(one, times)).collect();
            *members.last_mut().unwrap() = wrap(0xa3, &wrap(0x30, &list.concat()));
        }
    };
    edit("an extension twice", &extend(&[0x2a, 3, 4], false, vec![5, 0], 2));
    edit("an unknown critical extension", &extend(&[0x2a, 3, 4], true, vec![5, 0], 1));
    edit("a usage that is no bit string", &extend(&[0x55, 0x1d, 15], true, vec![4, 0], 1));
    edit("bytes behind a usage", &extend(&[0x55, 0x1d, 15], true, vec![3, 2, 5, 0xa0, 5, 0], 1));
    edit("purposes that break off", &extend(&[0x55, 0x1d, 37], false, vec![0x30, 1, 6], 1));
    edit("a negative path length", &extend(&[0x55, 0x1d, 19], true, vec![0x30, 6, 1, 1, 0xff, 2, 1, 0xff], 1));
    edit("a path length and no CA", &extend(&[0x55, 0x1d, 19], true, vec![0x30, 3, 2, 1, 0], 1));
    let names = |name: Vec<u8>| extend(&[0x55, 0x1d, 17], false, wrap(0x30, &name), 1);
    edit("an address of five bytes", &names(wrap(0x87, &[10, 0, 0, 1, 1])));
    edit("a name in Latin 1", &names(wrap(0x82, b"caf\xe9.test")));
    edit("a name that is an address", &names(wrap(0x82, b"10.0.0.1")));
    edit("a URI that is none", &names(wrap(0x86, b"http://[fd00::1")));
    edit("a point that is on no curve", &|members| *members[6].last_mut().unwrap() ^= 1);
    edit("an unknown curve", &|members| {
        let at = members[6].windows(8).position(|part| part == [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]).unwrap();
        members[6][at + 7] = 6;
    });
    let behind = |name: &str| [&made[name][..], b"\x05\0"].concat();
    for name in ["certificate p256", "pkcs1 rsa", "pkcs8 p256", "pkcs8 rsa", "sec1 p256", "pkix rsa", "pkcs8 ed25519"] {
        all.insert(format!("{name} and bytes behind it"), behind(name));
        let whole = &made[name];
        all.insert(format!("half of {name}"), whole[..whole.len() / 2].to_vec());
        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 0x55;
        all.insert(format!("{name} with another byte"), changed);
    }
    all.insert("nothing".to_owned(), Vec::new());
    all.insert("garbage".to_owned(), b"neither fish nor fowl".to_vec());
    all
}

/// Damages a text with one good block, whose label is the first argument and whose text is the second.
type Damage = fn(&str, &str) -> Vec<u8>;

const DAMAGE: &[(&str, Damage)] = &[
    ("CR LF", |_, text| text.replace('\n', "\r\n").into()),
    ("CR", |_, text| text.replace('\n', "\r").into()),
    ("a byte order mark", |_, text| format!("\u{feff}{text}").into()),
    ("a byte order mark and a blank line", |_, text| format!("\u{feff}\n{text}").into()),
    ("UTF-16", |_, text| text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ("an indented begin", |_, text| format!(" {text}").into()),
    ("indented lines", |_, text| text.lines().map(|line| format!("  {line}\n")).collect::<String>().into()),
    ("an indented body", |_, text| text.replace("\nM", "\n  M").into()),
    ("blanks behind lines", |_, text| text.replace('\n', " \t\n").into()),
    ("blank lines", |_, text| text.replace('\n', "\n\n").into()),
    ("text before it", |_, text| format!("subject=CN = made\n\n{text}").into()),
    ("text on the line of its begin", |_, text| format!("x{text}").into()),
    ("text behind it", |_, text| format!("{text}that was it\n").into()),
    ("text behind its end", |_, text| format!("{} x\n", text.trim_end()).into()),
    ("no line end", |_, text| text.trim_end().into()),
    ("no end", |label, text| text.replace(&format!("-----END {label}-----\n"), "").into()),
    ("no begin", |label, text| text.replace(&format!("-----BEGIN {label}-----\n"), "").into()),
    ("two begins", |label, text| format!("-----BEGIN {label}-----\n{text}").into()),
    ("a begin of another before it", |_, text| format!("-----BEGIN OTHER-----\nAAAA\n{text}").into()),
    ("another end", |label, text| text.replace(&format!("END {label}"), "END OTHER").into()),
    ("four dashes", |_, text| text.replacen("-----", "----", 1).into()),
    ("six dashes", |_, text| text.replacen("-----", "------", 1).into()),
    ("a small begin", |_, text| text.replacen("BEGIN", "begin", 1).into()),
    ("one line", |_, text| {
        let lines: Vec<_> = text.lines().collect();
        format!("{}\n{}\n{}\n", lines[0], lines[1..lines.len() - 1].concat(), lines[lines.len() - 1]).into()
    }),
    ("no lines at all", |_, text| text.replace('\n', " ").into()),
    ("escaped line ends", |_, text| text.replace('\n', "\\n").into()),
    ("a character that is no base64", |_, text| text.replacen("\nM", "\n*M", 1).into()),
    ("a colon in its body", |_, text| {
        let middle = text.len() / 2;
        format!("{}:{}", &text[..middle], &text[middle..]).into()
    }),
    ("a header behind its first line", |_, text| text.replacen("\nM", "\nM\nA: b\n", 1).into()),
    ("no padding", |_, text| text.replace('=', "").into()),
    ("more padding", |_, text| text.replacen("\n-----END", "=\n-----END", 1).into()),
    ("URL-safe base64", |_, text| text.replace('+', "-").replace('/', "_").into()),
    ("no body", |label, _| format!("-----BEGIN {label}-----\n-----END {label}-----\n").into()),
    ("a cut-off block behind it", |label, text| format!("{text}-----BEGIN {label}-----\nMIIB\n").into()),
    ("garbage in a block behind it", |label, text| format!("{text}{}", pem(label, b"garbage")).into()),
    ("garbage in a block before it", |label, text| format!("{}{text}", pem(label, b"garbage")).into()),
    ("itself behind it", |_, text| format!("{text}{text}").into()),
    ("itself glued to it", |_, text| format!("{}{text}", text.trim_end()).into()),
    ("parameters before it", |_, text| format!("{}{text}", pem("EC PARAMETERS", &[6, 1, 0x2a])).into()),
    ("another block before it", |_, text| format!("{}{text}", pem("X509 CRL", b"0")).into()),
    ("base64 twice", |_, text| STANDARD.encode(text).into()),
    ("DER", |_, text| forge::der(text)),
    ("nothing but white space", |_, _| b" \n\n".to_vec()),
    ("nothing", |_, _| Vec::new()),
    ("zeros", |_, text| vec![0; text.len()]),
];

/// Headers of three kinds.
const HEADERS: &[(&str, &str)] =
    &[("", ""), (" with a header", "Proc-Type: 4,CLEAR\n\n"), (" said to be encrypted", "Proc-Type: 4,ENCRYPTED\n\n")];

fn with_headers(text: &str, headers: &str) -> Vec<u8> {
    text.replacen("-----\n", &format!("-----\n{headers}"), 1).into()
}

/// All files.
pub(super) fn cases(made: &BTreeMap<String, Vec<u8>>, kubeconfig: &Value) -> Vec<Case> {
    let mut all = Vec::new();
    let mut contents = made.clone();
    contents.extend(defects(made));
    let own = |name: &str| match name.split(' ').next() {
        Some("certificate") => "CERTIFICATE",
        Some("pkcs8") => "PRIVATE KEY",
        Some("pkcs1") => "RSA PRIVATE KEY",
        Some("pkcs1-public") => "RSA PUBLIC KEY",
        Some("sec1") => "EC PRIVATE KEY",
        Some("pkix") => "PUBLIC KEY",
        _ => "CERTIFICATE",
    };
    for (reader, _) in READERS.iter().filter(|(reader, _)| !matches!(*reader, "kubeconfig" | "both")) {
        let keys = reader.contains("key");
        for (at, (name, der)) in contents.iter().enumerate() {
            for (label_at, label) in LABELS.iter().enumerate() {
                // Its own label and that which the reader looks for are tried with all; of the others a part.
                let close = *label == own(name)
                    || matches!(*label, "CERTIFICATE" | "PRIVATE KEY")
                    || name == "certificate p256";
                if !close && (at + label_at) % 5 != 0 {
                    continue;
                }
                for (header, lines) in HEADERS.iter().filter(|(header, _)| header.is_empty() || *label == own(name)) {
                    let file = with_headers(&pem(label, der), lines);
                    all.push(Case { name: format!("{name} as {label}{header}"), reader, file });
                }
            }
        }
        let good: &[&str] = if keys {
            &["pkcs1 rsa", "sec1 p256", "pkcs8 rsa", "pkix rsa"]
        } else {
            &["certificate p256", "certificate rsa"]
        };
        for name in good {
            let label = own(name);
            let text = pem(label, &made[*name]);
            for (damage, break_it) in DAMAGE {
                all.push(Case { name: format!("{name}, {damage}"), reader, file: break_it(label, &text) });
            }
        }
        // What stands beside a good block.
        let text = pem(own(good[0]), &made[good[0]]);
        for (name, der) in &contents {
            let other = pem(own(name), der);
            all.push(Case {
                name: format!("{name} behind {}", good[0]),
                reader,
                file: format!("{text}{other}").into(),
            });
            all.push(Case {
                name: format!("{name} before {}", good[0]),
                reader,
                file: format!("{other}{text}").into(),
            });
        }
    }
    for kind in ["rsa", "p256", "ed25519"] {
        let (certificate, key) = (
            pem("CERTIFICATE", &made[&format!("certificate {kind}")]),
            pem("PRIVATE KEY", &made[&format!("pkcs8 {kind}")]),
        );
        for (name, file) in [
            ("a certificate and its key", format!("{certificate}{key}")),
            ("a key and its certificate", format!("{key}{certificate}")),
            ("a certificate alone", certificate.clone()),
            ("a key alone", key.clone()),
            ("a certificate and half of its key", format!("{certificate}{}", &key[..key.len() / 2])),
            ("a certificate with a header and its key", certificate.replacen("-----\n", "-----\nA: b\n\n", 1) + &key),
        ] {
            all.push(Case { name: format!("{name} of {kind}"), reader: "both", file: file.into() });
        }
    }
    // No data are no CA, and the system's count.
    all.retain(|case| case.reader != "pool-data" || !case.file.is_empty());
    // Half of them are enough for each change of ours.
    if std::env::var_os("SEAWORTHY_ALL_READERS").is_none() {
        let mut at = 0;
        all.retain(|case| {
            at += 1;
            at % 2 == 0 || case.reader == "both" || case.name.contains(", ")
        });
    }
    all.extend(kubeconfigs(kubeconfig, made));
    all
}

/// kubeconfigs, each with one change.
fn kubeconfigs(good: &Value, made: &BTreeMap<String, Vec<u8>>) -> Vec<Case> {
    let mut all = Vec::new();
    let mut text = |name: &str, file: String| {
        all.push(Case { name: name.to_owned(), reader: "kubeconfig", file: file.into() });
    };
    let yaml = serde_saphyr::to_string(good).unwrap();
    text("good", yaml.clone());
    text("good as JSON", good.to_string());
    text("empty", String::new());
    text("white space", "\n \n".to_owned());
    text("no YAML", "a: [b\n".to_owned());
    text("a list", "[1, 2]\n".to_owned());
    text("of another kind", yaml.replace("kind: Config", "kind: Pod"));
    text("a second document", format!("{yaml}---\nkind: Pod\n"));
    text("a broken second document", format!("{yaml}---\na: [b\n"));
    text("documents begin", format!("---\n{yaml}"));
    text("a key twice", format!("current-context: nobody\n{yaml}"));
    let mut change = |name: String, change: &dyn Fn(&mut Value)| {
        let mut config = good.clone();
        change(&mut config);
        all.push(Case { name, reader: "kubeconfig", file: serde_saphyr::to_string(&config).unwrap().into() });
    };
    let context = good["current-context"].as_str().unwrap().to_owned();
    // Members of every type, at every place.
    let values = [
        ("null", Value::Null),
        ("a number", 1.into()),
        ("true", true.into()),
        ("a word", "word".into()),
        ("an empty string", "".into()),
        ("a list", json!(["a"])),
        ("an empty list", json!([])),
        ("a map", json!({ "a": "b" })),
        ("an empty map", json!({})),
    ];
    let places: &[(&str, &[&str])] = &[
        ("", &["kind", "apiVersion", "current-context", "preferences", "extensions", "unknown"]),
        (
            "/clusters/0/cluster",
            &[
                "server",
                "tls-server-name",
                "insecure-skip-tls-verify",
                "certificate-authority-data",
                "proxy-url",
                "disable-compression",
                "extensions",
                "unknown",
            ],
        ),
        (
            "/users/0/user",
            &[
                "client-certificate-data",
                "client-key-data",
                "token",
                "as",
                "as-uid",
                "as-groups",
                "as-user-extra",
                "username",
                "password",
                "exec",
                "extensions",
                "unknown",
            ],
        ),
        ("/contexts/0/context", &["cluster", "user", "namespace", "extensions", "unknown"]),
        ("/clusters/0", &["name"]),
        ("/users/0", &["name"]),
        ("/contexts/0", &["name"]),
    ];
    for (place, members) in places {
        for member in *members {
            for (what, value) in &values {
                change(format!("{place}/{member} is {what}"), &|config| {
                    config.pointer_mut(place).unwrap()[*member] = value.clone()
                });
            }
            change(format!("{place}/{member} is missing"), &|config| {
                config.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(*member);
            });
        }
    }
    for list in ["clusters", "users", "contexts"] {
        let one = list.trim_end_matches('s');
        for (what, value) in &values {
            change(format!("{list} is {what}"), &|config| config[list] = value.clone());
            change(format!("{one} is {what}"), &|config| config[list][0][one] = value.clone());
        }
        change(format!("{list} has null beside it"), &|config| config[list].as_array_mut().unwrap().push(Value::Null));
        change(format!("{list} has it twice"), &|config| {
            let first = config[list][0].clone();
            config[list].as_array_mut().unwrap().push(first);
        });
        change(format!("{list} has another"), &|config| {
            let mut first = config[list][0].clone();
            first["name"] = "other".into();
            config[list].as_array_mut().unwrap().push(first);
        });
    }
    change("a context of another name counts".to_owned(), &|config| config["current-context"] = "Other".into());
    change("the name of a context in other letters".to_owned(), &|config| {
        config["current-context"] = context.to_uppercase().into()
    });
    change("a context with an unknown cluster".to_owned(), &|config| {
        config["contexts"][0]["context"]["cluster"] = "gone".into()
    });
    change("a context with an unknown user".to_owned(), &|config| {
        config["contexts"][0]["context"]["user"] = "gone".into()
    });
    for server in [
        "https://10.0.0.1",
        "https://10.0.0.1:6443/",
        "https://10.0.0.1:6443/prefix",
        "https://10.0.0.1:",
        "https://10.0.0.1:port",
        "https://10.0.0.1:80:80",
        "https://fd00::1",
        "https://fd00::1:6443",
        "https://[fd00::1]:6443",
        "https://[fd00::1]",
        "https://[fd00::1",
        "https://[fd00::1]x",
        "https://[fd00::1]:port",
        "fd00::1",
        "[fd00::1]:6443",
        "http://10.0.0.1:8080",
        "http://fd00::1:8080",
        "10.0.0.1",
        "10.0.0.1:6443",
        "10.0.0.1:6443/x",
        "10.0.0.1/x",
        "HTTPS://10.0.0.1:6443",
        "https:/10.0.0.1",
        "https://",
        "https:",
        "://10.0.0.1",
        "//10.0.0.1:6443",
        "https://a b",
        "https://api.example.test:6443?x=y",
        "ftp://10.0.0.1",
        "https://user@10.0.0.1",
        "https://:6443",
        "https://a\\b",
        "https://10.0.0.1\n",
    ] {
        change(format!("the server {server:?}"), &|config| config["clusters"][0]["cluster"]["server"] = server.into());
    }
    let data = |name: &str, label: &str| STANDARD.encode(pem(label, &made[name]));
    let ca = data("certificate p256", "CERTIFICATE");
    for (name, value) in [
        ("another CA", ca.clone()),
        ("a CA in base64 twice", STANDARD.encode(&ca)),
        ("a CA in plain PEM", pem("CERTIFICATE", &made["certificate p256"])),
        ("a CA in DER", STANDARD.encode(&made["certificate p256"])),
        ("a key for a CA", data("pkcs8 p256", "PRIVATE KEY")),
        ("a trusted CA", data("certificate p256", "TRUSTED CERTIFICATE")),
        ("a CA with line ends", ca.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n").collect()),
        ("a CA with blanks", ca.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + " ").collect()),
        ("a CA without padding", ca.trim_end_matches('=').to_owned()),
        ("a CA with padding too much", format!("{ca}=")),
        ("a CA of blanks", STANDARD.encode(" \n")),
    ] {
        change(name.to_owned(), &|config| {
            config["clusters"][0]["cluster"]["certificate-authority-data"] = value.clone().into()
        });
        change(format!("{name}, and the server is not verified"), &|config| {
            let cluster = &mut config["clusters"][0]["cluster"];
            cluster["certificate-authority-data"] = value.clone().into();
            cluster["insecure-skip-tls-verify"] = true.into();
        });
        change(format!("{name}, and the server speaks no TLS"), &|config| {
            let cluster = &mut config["clusters"][0]["cluster"];
            cluster["certificate-authority-data"] = value.clone().into();
            cluster["server"] = "http://10.0.0.1:8080".into();
        });
    }
    for url in [
        "http://proxy:3128",
        "https://proxy",
        "socks5://proxy",
        "socks5h://proxy",
        "proxy:3128",
        "ftp://proxy",
        "HTTP://proxy",
    ] {
        change(format!("the proxy {url}"), &|config| config["clusters"][0]["cluster"]["proxy-url"] = url.into());
    }
    let user = |name: &str, value: Value| (name.to_owned(), value);
    let (certificate, key) = (data("certificate p256", "CERTIFICATE"), data("pkcs8 p256", "PRIVATE KEY"));
    for (name, value) in [
        user("no user at all", json!({})),
        user("a token", json!({ "token": "t" })),
        user("a token and a password", json!({ "token": "t", "username": "u", "password": "p" })),
        user("a token and a name", json!({ "token": "t", "username": "u" })),
        user("a password", json!({ "username": "u", "password": "p" })),
        user("a certificate and its key", json!({ "client-certificate-data": certificate, "client-key-data": key })),
        user("a certificate and no key", json!({ "client-certificate-data": certificate })),
        user("a key and no certificate", json!({ "client-key-data": key })),
        user("a key that is none and no certificate", json!({ "client-key-data": certificate })),
        user("both in one", json!({ "client-certificate-data": key, "client-key-data": certificate })),
        user(
            "a certificate and garbage",
            json!({ "client-certificate-data": certificate, "client-key-data": STANDARD.encode("garbage") }),
        ),
        user(
            "a certificate, its key and a token",
            json!({ "client-certificate-data": certificate, "client-key-data": key, "token": "t" }),
        ),
        user(
            "an identity of Ed25519",
            json!({
                "client-certificate-data": data("certificate ed25519", "CERTIFICATE"),
                "client-key-data": data("pkcs8 ed25519", "PRIVATE KEY"),
            }),
        ),
        user("as somebody", json!({ "token": "t", "as": "a", "as-groups": ["b"] })),
        user("as a group", json!({ "token": "t", "as-groups": ["b"] })),
        user("as a uid", json!({ "token": "t", "as-uid": "b" })),
        user("as something more", json!({ "token": "t", "as-user-extra": { "a": ["b"] } })),
        user("an empty program", json!({ "exec": {} })),
        user(
            "a program",
            json!({
                "exec": {
                    "command": "true", "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
                    "args": ["a"], "env": [{ "name": "a", "value": "b" }],
                },
            }),
        ),
        user(
            "a program without a mode",
            json!({ "exec": { "command": "true", "apiVersion": "client.authentication.k8s.io/v1" } }),
        ),
        user(
            "a program without a mode in v1beta1",
            json!({ "exec": { "command": "true", "apiVersion": "client.authentication.k8s.io/v1beta1" } }),
        ),
        user(
            "a program with another mode",
            json!({
                "exec": {
                    "command": "true", "apiVersion": "client.authentication.k8s.io/v1beta1", "interactiveMode": "Often",
                },
            }),
        ),
        user("a program without a version", json!({ "exec": { "command": "true", "interactiveMode": "Never" } })),
        user(
            "no program",
            json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never" } }),
        ),
        user(
            "a variable without a name",
            json!({
                "exec": {
                    "command": "true", "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
                    "env": [{ "value": "b" }],
                },
            }),
        ),
    ] {
        change(format!("{name} in the user"), &|config| config["users"][0]["user"] = value.clone());
    }
    all
}
