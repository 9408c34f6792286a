//! For what client-go refuses a kubeconfig, or one cluster or user of it, that can be told from the file alone.

use base64::Engine as _;
use serde_json::Value;

use crate::pki::x509::pem::GO_BASE64;

/// What stands in a member that Go decodes from base64: with line ends, without blanks.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    GO_BASE64.decode(text).ok()
}

/// What a member must be.
#[derive(Clone, Copy)]
enum Type {
    Text,
    Flag,
    Base64,
    Texts,
    TextsByName,
    TextByName,
    /// An object with these members; others are passed over.
    Object(&'static [(&'static str, Type)]),
    /// A list of such objects.
    List(&'static [(&'static str, Type)]),
    /// Anything.
    Any,
}

const EXTENSION: &[(&str, Type)] = &[("name", Type::Text), ("extension", Type::Any)];
const CLUSTER: &[(&str, Type)] = &[
    ("server", Type::Text),
    ("tls-server-name", Type::Text),
    ("insecure-skip-tls-verify", Type::Flag),
    ("certificate-authority", Type::Text),
    ("certificate-authority-data", Type::Base64),
    ("proxy-url", Type::Text),
    ("disable-compression", Type::Flag),
    ("extensions", Type::List(EXTENSION)),
];
const EXEC: &[(&str, Type)] = &[
    ("command", Type::Text),
    ("args", Type::Texts),
    ("env", Type::List(&[("name", Type::Text), ("value", Type::Text)])),
    ("apiVersion", Type::Text),
    ("installHint", Type::Text),
    ("provideClusterInfo", Type::Flag),
    ("interactiveMode", Type::Text),
];
const USER: &[(&str, Type)] = &[
    ("client-certificate", Type::Text),
    ("client-certificate-data", Type::Base64),
    ("client-key", Type::Text),
    ("client-key-data", Type::Base64),
    ("token", Type::Text),
    ("tokenFile", Type::Text),
    ("as", Type::Text),
    ("as-uid", Type::Text),
    ("as-groups", Type::Texts),
    ("as-user-extra", Type::TextsByName),
    ("username", Type::Text),
    ("password", Type::Text),
    ("auth-provider", Type::Object(&[("name", Type::Text), ("config", Type::TextByName)])),
    ("exec", Type::Object(EXEC)),
    ("extensions", Type::List(EXTENSION)),
];
const CONTEXT: &[(&str, Type)] =
    &[("cluster", Type::Text), ("user", Type::Text), ("namespace", Type::Text), ("extensions", Type::List(EXTENSION))];
/// `k8s.io/client-go/tools/clientcmd/api/v1`, `Config`.
const CONFIG: &[(&str, Type)] = &[
    ("kind", Type::Text),
    ("apiVersion", Type::Text),
    ("preferences", Type::Object(&[("colors", Type::Flag), ("extensions", Type::List(EXTENSION))])),
    ("clusters", Type::List(&[("name", Type::Text), ("cluster", Type::Object(CLUSTER))])),
    ("users", Type::List(&[("name", Type::Text), ("user", Type::Object(USER))])),
    ("contexts", Type::List(&[("name", Type::Text), ("context", Type::Object(CONTEXT))])),
    ("current-context", Type::Text),
    ("extensions", Type::List(EXTENSION)),
];

/// Why client-go refuses the whole file, if it does. The values themselves are not shown.
pub(super) fn of_file(value: &Value) -> Option<String> {
    let version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if !matches!(version, "" | "v1") {
        return Some(format!("its apiVersion is {version}, not v1"));
    }
    wrong(value, Type::Object(CONFIG), "it").or_else(|| twice(value))
}

/// The first member that is of another type.
fn wrong(value: &Value, wanted: Type, place: &str) -> Option<String> {
    let is = |right: bool, what: &str| (!right).then(|| format!("{place} is not {what}"));
    let texts =
        |value: &Value| value.as_array().is_some_and(|all| all.iter().all(|one| one.is_null() || one.is_string()));
    let map = |value: &Value, each: &dyn Fn(&Value) -> bool| {
        value.as_object().is_some_and(|all| all.values().all(|one| one.is_null() || each(one)))
    };
    if value.is_null() {
        return None;
    }
    match wanted {
        Type::Any => None,
        Type::Text => is(value.is_string(), "a string"),
        Type::Flag => is(value.is_boolean(), "true or false"),
        Type::Base64 => match value {
            Value::String(text) => is(bytes(text).is_some(), "base64"),
            // Go takes the bytes one by one as well.
            Value::Array(all) => {
                is(all.iter().all(|one| one.as_u64().is_some_and(|byte| byte < 256)), "a list of bytes")
            }
            _ => is(false, "a string"),
        },
        Type::Texts => is(texts(value), "a list of strings"),
        Type::TextsByName => is(map(value, &texts), "a map of lists of strings"),
        Type::TextByName => is(map(value, &Value::is_string), "a map of strings"),
        Type::Object(members) => {
            let Some(object) = value.as_object() else { return is(false, "a map") };
            members.iter().find_map(|(name, wanted)| {
                let place = if place == "it" { (*name).to_owned() } else { format!("{place}.{name}") };
                wrong(object.get(*name)?, *wanted, &place)
            })
        }
        Type::List(members) => {
            let Some(list) = value.as_array() else { return is(false, "a list") };
            let mut all = list.iter().enumerate();
            all.find_map(|(index, one)| wrong(one, Type::Object(members), &format!("{place}[{index}]")))
        }
    }
}

/// A name that stands in one of its lists twice.
fn twice(value: &Value) -> Option<String> {
    [("clusters", "clusters"), ("users", "users"), ("contexts", "contexts")].into_iter().find_map(|(list, what)| {
        let mut seen = std::collections::BTreeSet::new();
        let names = value.get(list)?.as_array()?.iter();
        let mut names = names.map(|one| one.get("name").and_then(Value::as_str).unwrap_or_default());
        names.find(|name| !seen.insert(*name)).map(|name| format!("two of its {what} have the name {name:?}"))
    })
}

fn there(value: &Value, member: &str) -> bool {
    value.get(member).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
}

/// What client-go refuses a cluster for (`validateClusterInfo`), files and the URL aside.
pub(super) fn of_cluster(name: &str, cluster: &Value) -> Vec<String> {
    let mut all = Vec::new();
    if there(cluster, "certificate-authority-data") && there(cluster, "certificate-authority") {
        all.push(format!(
            "the cluster {name:?} has certificate-authority-data and certificate-authority, and only one may be"
        ));
    }
    if there(cluster, "certificate-authority-data") | there(cluster, "certificate-authority")
        && cluster.get("insecure-skip-tls-verify").and_then(Value::as_bool) == Some(true)
        && cluster.get("server").and_then(Value::as_str).is_some_and(super::is_tls)
    {
        all.push(format!("the cluster {name:?} has a CA and insecure-skip-tls-verify, and only one may be"));
    }
    if let Some(url) = cluster.get("proxy-url").and_then(Value::as_str).filter(|url| !url.is_empty()) {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !scheme.is_some_and(|scheme| matches!(scheme.as_str(), "http" | "https" | "socks5")) {
            all.push(format!("the proxy-url of the cluster {name:?} is not of http, https or socks5"));
        }
    }
    all
}

/// What client-go refuses a user for (`validateAuthInfo`), files aside.
pub(super) fn of_user(name: &str, user: &Value) -> Vec<String> {
    let mut all = Vec::new();
    let mut fault = |wrong: bool, what: &str| {
        if wrong {
            all.push(format!("the user {name:?} {what}"));
        }
    };
    let there = |member| there(user, member);
    if there("client-certificate") || there("client-certificate-data") {
        let both = |file, data| there(file) && there(data);
        fault(
            both("client-certificate", "client-certificate-data"),
            "has client-certificate-data and client-certificate, and only one may be",
        );
        fault(both("client-key", "client-key-data"), "has client-key-data and client-key, and only one may be");
        fault(!there("client-key") && !there("client-key-data"), "has a client certificate and no key");
    }
    let basic = there("username") || there("password");
    fault(there("token") && basic, "has a token and a password, and only one may be");
    let filled = |member: &str| {
        user.get(member).is_some_and(|value| match value {
            Value::Array(all) => !all.is_empty(),
            Value::Object(all) => !all.is_empty(),
            value => value.as_str().is_some_and(|text| !text.is_empty()),
        })
    };
    let more = filled("as-uid") || filled("as-groups") || filled("as-user-extra");
    fault(more && !there("as"), "has as-uid, as-groups or as-user-extra, and no as");
    if let Some(exec) = user.get("exec").filter(|exec| exec.is_object()) {
        let text = |member: &str| exec.get(member).and_then(Value::as_str).unwrap_or_default();
        fault(
            user.get("auth-provider").is_some_and(Value::is_object),
            "has exec and auth-provider, and only one may be",
        );
        fault(text("command").is_empty(), "has exec without a command");
        fault(text("apiVersion").is_empty(), "has exec without an apiVersion");
        let variables = exec.get("env").and_then(Value::as_array).into_iter().flatten();
        let nameless = |one: &Value| one.get("name").and_then(Value::as_str).is_none_or(str::is_empty);
        fault(variables.filter(|one| nameless(one)).count() > 0, "has exec with a variable without a name");
        let old = matches!(
            text("apiVersion"),
            "client.authentication.k8s.io/v1beta1" | "client.authentication.k8s.io/v1alpha1"
        );
        let mode = matches!(text("interactiveMode"), "Never" | "IfAvailable" | "Always");
        fault(!(mode || old && text("interactiveMode").is_empty()), "has exec without a valid interactiveMode");
    }
    all
}
