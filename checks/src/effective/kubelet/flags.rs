//! The kubelet's command line as it parses it (spf13/pflag, with `_` for `-`), and what its flags set.

use serde_json::{Value, json};

use super::{Problem, REMOVED_FLAGS, Settings, duration, tables};
use crate::conclusion::Location;
use crate::effective::Origin;
use crate::effective::systemd::Word;

/// A flag that the kubelet is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its name, without dashes, with `-` for `_`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it stands; `None` for the arguments of a process.
    pub at: Option<Location>,
}

impl Given {
    /// Where its value comes from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin::Flag { flag: format!("--{}", self.name), at: self.at.clone() }
    }
}

/// Parses the words behind the program; flags that this release does not know are problems, and given all the same.
pub(super) fn parse(words: &[Word], minor: u32) -> (Vec<Given>, Vec<Problem>) {
    let (mut given, mut problems) = (Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let at = word.at.clone();
        let text = word.text.as_str();
        let long = text.strip_prefix("--");
        // pflag reads `-v` and `-h` by their letters; of other words with one dash the first letter is unknown to it.
        let short = text.strip_prefix('-').filter(|rest| long.is_none() && !rest.is_empty());
        let (name, attached) = match (long, short) {
            (Some(""), _) => {
                if let Some(rest) = words.next() {
                    problems.push(positional(rest));
                }
                break;
            }
            (Some(rest), _) => match rest.split_once('=') {
                Some((name, value)) => (name.replace('_', "-"), Some(value.to_owned())),
                None => (rest.replace('_', "-"), None),
            },
            (None, Some(rest)) => {
                let letter = &rest[..rest.chars().next().map_or(0, char::len_utf8)];
                let value = &rest[letter.len()..];
                let name = match letter {
                    "v" => "v",
                    "h" => "help",
                    _ => {
                        let why =
                            format!("{text} has one dash, and the kubelet knows no flag '{letter}' of one letter");
                        problems.push(Problem::new(text, why).of(REMOVED_FLAGS).at(at));
                        continue;
                    }
                };
                let value = value.strip_prefix('=').unwrap_or(value);
                (name.to_owned(), (!value.is_empty()).then(|| value.to_owned()))
            }
            (None, None) => {
                problems.push(positional(word));
                continue;
            }
        };
        let row = tables::flag(&name, minor);
        if row.is_none() {
            problems.push(unknown(&name, minor, at.clone()));
        }
        let kind = row.or(tables::releases_of_flag(&name).last()).map_or("string", |row| row.kind);
        let value = match (attached, kind) {
            (Some(value), _) => value,
            (None, "bool" | "version") => "true".to_owned(),
            // Of a flag that no kubelet knows nobody says whether the next word is its value.
            (None, _) if tables::releases_of_flag(&name).is_empty() => {
                words.as_slice().first().filter(|next| !next.text.starts_with('-')).map_or_else(String::new, |next| {
                    words.next();
                    next.text.clone()
                })
            }
            (None, _) => match words.next() {
                Some(next) => next.text.clone(),
                None => {
                    problems.push(Problem::new(format!("--{name}"), format!("--{name} has no value")).at(at));
                    break;
                }
            },
        };
        given.push(Given { name, value, at });
    }
    (given, problems)
}

fn positional(word: &Word) -> Problem {
    let why = format!("'{}' is no flag, and the kubelet takes no other arguments", word.text);
    Problem::new(word.text.clone(), why).of(REMOVED_FLAGS).at(word.at.clone())
}

fn unknown(name: &str, minor: u32, at: Option<Location>) -> Problem {
    let known = tables::releases_of_flag(name);
    let why = match (known.first(), known.last()) {
        (Some(first), _) if *first.releases.start() > minor => {
            format!("kubelet 1.{minor} does not know --{name}, which is new in 1.{}", first.releases.start())
        }
        (_, Some(last)) => {
            format!("kubelet 1.{minor} refuses --{name}, which was removed in 1.{}", last.releases.end() + 1)
        }
        _ => format!("kubelet 1.{minor} knows no flag --{name}"),
    };
    Problem::new(format!("--{name}"), why).of(REMOVED_FLAGS).at(at)
}

/// Sets what the flags say over what is set.
pub(super) fn apply(settings: &mut Settings, given: &[Given], minor: u32, problems: &mut Vec<Problem>) {
    let mut begun: Vec<&str> = Vec::new();
    for flag in given {
        let Some(row) = tables::flag(&flag.name, minor) else { continue };
        // Before 1.27 the endpoint was a flag alone; what asks for it need not know.
        let member = match (row.member, flag.name.as_str()) {
            (None, "container-runtime-endpoint") => "containerRuntimeEndpoint",
            (None, "seccomp-default") => "seccompDefault",
            (None, _) => {
                if let Err(why) = scalar(row.kind, &flag.value) {
                    problems.push(refused(flag, &why));
                }
                continue;
            }
            (Some(member), _) => member,
        };
        let path: Vec<&str> = member.split('.').collect();
        let first = !begun.contains(&member);
        begun.push(member);
        if let Err(why) = set(settings, &path, row.kind, flag, first) {
            problems.push(refused(flag, &why));
        }
    }
}

/// Flags whose registration sets their members to a default of their own instead of what the files say, and the last
/// release that does so (k8s.io/component-base, logs; `kubeletConfigFlagPrecedence` registers flags anew on the merged
/// files).
const RESETS: [(&str, u32, &str); 3] = [
    ("log-flush-frequency", 24, r#""5s""#),
    ("log-json-split-stream", u32::MAX, "false"),
    ("log-text-split-stream", u32::MAX, "false"),
];

/// Forgets what files say of members that the kubelet resets, before flags are applied.
pub(super) fn reset(settings: &mut Settings, given: &[Given], minor: u32, warns: &mut Vec<Problem>) {
    for (flag, last, default) in RESETS {
        let Some(member) = tables::flag(flag, minor).filter(|_| minor <= last).and_then(|row| row.member) else {
            continue;
        };
        let path: Vec<&str> = member.split('.').collect();
        let Some(setting) = settings.get(&path).filter(|_| given.iter().all(|one| one.name != flag)) else { continue };
        let default: Value = serde_json::from_str(default).unwrap_or_default();
        if *setting.value == default {
            continue;
        }
        let why = format!("kubelet 1.{minor} ignores {member} in a file and takes the default of --{flag}");
        warns.push(
            Problem::new(member, why)
                .found(setting.value.to_string())
                .wanted(format!("--{flag}"))
                .at(setting.origin.location().cloned()),
        );
        settings.set(&path, default, Origin::Default(format!("kubelet 1.{minor}")));
    }
}

fn refused(flag: &Given, why: &str) -> Problem {
    let name = format!("--{}", flag.name);
    Problem::new(&name, format!("the value of {name} {why}")).found(flag.value.clone()).at(flag.at.clone())
}

type Set = Result<(), String>;

fn set(settings: &mut Settings, path: &[&str], kind: &str, flag: &Given, first: bool) -> Set {
    let value = &flag.value;
    let below = |name: &str| path.iter().copied().chain([name]).map(str::to_owned).collect::<Vec<_>>();
    let put = |settings: &mut Settings, name: &str, value: Value| {
        let path = below(name);
        settings.set(&path.iter().map(String::as_str).collect::<Vec<_>>(), value, flag.origin());
    };
    match kind {
        "map" | "map-langle" | "map-bool" | "map-no-split" => {
            // Feature gates of the file stay; of other maps the first flag forgets what the file says.
            if first && kind != "map-bool" {
                settings.remove(path);
                settings.set(path, json!({}), flag.origin());
            }
            let separator = if kind == "map-langle" { '<' } else { '=' };
            let parts: Vec<&str> = if kind == "map-no-split" { vec![value] } else { value.split(',').collect() };
            for part in parts.into_iter().filter(|part| !part.is_empty()) {
                let (name, value) =
                    part.split_once(separator).ok_or_else(|| format!("has no '{separator}' in '{part}'"))?;
                let (name, value) = (name.trim(), value.trim());
                let value = if kind == "map-bool" { boolean(value)? } else { json!(value) };
                put(settings, name, value);
            }
        }
        "list" => {
            let mut items = if first { Vec::new() } else { current(settings, path) };
            let trimmed = value.trim_matches(['[', ']']);
            items.extend(trimmed.split(',').filter(|item| !item.is_empty()).map(|item| json!(item)));
            settings.set(path, items.into(), flag.origin());
        }
        "taints" => {
            let mut items = if first { Vec::new() } else { current(settings, path) };
            for taint in value.split(',').filter(|taint| !taint.is_empty()) {
                items.push(self::taint(taint)?);
            }
            settings.set(path, items.into(), flag.origin());
        }
        // Headers may hold a token.
        "multimap" => settings.set(path, json!("[redacted]"), flag.origin()),
        "reserved-memory" | "vmodule" => settings.set(path, json!(value), flag.origin()),
        _ => settings.set(path, scalar(kind, value)?, flag.origin()),
    }
    Ok(())
}

fn current(settings: &Settings, path: &[&str]) -> Vec<Value> {
    settings.get(path).and_then(|setting| setting.value.as_array().cloned()).unwrap_or_default()
}

fn taint(text: &str) -> Result<Value, String> {
    let (key, rest) = text.split_once('=').unwrap_or((text, ""));
    let (key, value, effect) = match (text.contains('='), rest.rsplit_once(':'), key.rsplit_once(':')) {
        (true, Some((value, effect)), _) => (key, value, effect),
        (false, _, Some((key, effect))) => (key, "", effect),
        _ => return Err(format!("has no effect in '{text}'; write key=value:effect")),
    };
    let mut taint = json!({"key": key, "effect": effect});
    if !value.is_empty() {
        taint["value"] = json!(value);
    }
    Ok(taint)
}

fn boolean(text: &str) -> Result<Value, String> {
    // strconv.ParseBool
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(json!(true)),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(json!(false)),
        _ => Err("is neither true nor false".to_owned()),
    }
}

fn scalar(kind: &str, text: &str) -> Result<Value, String> {
    match kind {
        "bool" => boolean(text),
        "int" => integer(text).map(Value::from).ok_or_else(|| "is no integer".to_owned()),
        "duration" => match duration::parse(text) {
            Some(nanoseconds) => Ok(json!(duration::show(nanoseconds))),
            None => Err("is no duration such as 10s or 5m".to_owned()),
        },
        // Go's net.ParseIP takes no zone and no leading zero.
        "ip" => match text.parse::<std::net::IpAddr>() {
            Ok(address) => Ok(json!(address.to_string())),
            Err(_) if text.is_empty() => Ok(json!("")),
            Err(_) => Err("is no IP address".to_owned()),
        },
        _ => Ok(json!(text)),
    }
}

/// strconv.ParseInt with base 0.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    let valid = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    i64::from_str_radix(digits, radix).ok().filter(|_| valid).map(|number| sign * number)
}
