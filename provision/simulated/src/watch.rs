//! One list and watch of a resource: everything that there is, then every change, in order and without a gap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prost::Message;
use tokio::sync::mpsc::Sender;

use crate::client::{Call, Client, ClientError, Form, Lane};
use crate::wire;

/// How many objects a page of a list has.
const PAGE: u32 = 1000;
/// The waits after failures: the first and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// What a list or the watch says.
#[derive(Debug)]
pub enum Item<T> {
    /// A list begins; one that had begun is forgotten.
    Begin,
    /// An object of the list, or one that was added or changed.
    Object(T),
    /// The list is whole: what it did not have is not there.
    End,
    /// An object is not there any more.
    Removed(T),
}

/// What happened to lists and watches.
#[derive(Debug, Default)]
pub struct WatchStats {
    /// How many lists began, the first ones included.
    pub lists: AtomicU64,
    /// How many watches ended otherwise than by their time.
    pub broken: AtomicU64,
}

/// A resource.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its path: `/api/v1/pods`.
    pub path: &'static str,
    /// Which of its objects: `fieldSelector=…` or `labelSelector=…`, encoded.
    pub selector: String,
}

impl Source {
    /// The objects of a label selector, such as `app=web`.
    #[must_use]
    pub fn labeled(path: &'static str, selector: &str) -> Self {
        let selector = form_urlencoded::Serializer::new(String::new()).append_pair("labelSelector", selector).finish();
        Self { path, selector }
    }
}

/// A page of a list: its objects in protobuf, undecoded, and how many follow as far as the API server says.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The objects.
    pub items: Vec<bytes::Bytes>,
    /// How many objects follow; none is told where a selector is given.
    pub remaining: Option<u64>,
    /// What continues the list; empty at its end.
    pub next: String,
}

/// Asks for one page of a list. With a token of a page before it goes on there.
///
/// # Errors
/// [`ClientError`] as the API server words it; 410 says that the token is too old, and the list must begin anew.
pub async fn page(client: &Client, path: &str, form: Form, limit: u32, next: &str) -> Result<Page, ClientError> {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("limit", &limit.to_string())
        .append_pair("continue", next)
        .finish();
    let separator = if path.contains('?') { '&' } else { '?' };
    let call = Call::get(format!("{path}{separator}{query}"));
    let reply = client.fetch(Lane::Watch, &call, form).await?.success(&call)?;
    let list: wire::List = wire::open(reply.body).ok_or_else(|| ClientError::Broken {
        method: "GET".to_owned(),
        path: path.to_owned(),
        why: "the list is no protobuf".to_owned(),
    })?;
    let meta = list.metadata.unwrap_or_default();
    let remaining = meta.remaining_item_count.and_then(|count| count.try_into().ok());
    Ok(Page { items: list.items, remaining, next: meta.r#continue })
}

/// Lists and watches until nobody listens any more.
pub async fn run<T: Message + Default>(
    client: Client,
    source: Source,
    items: Sender<Item<T>>,
    stats: Arc<WatchStats>,
    failed: impl Fn(&ClientError),
) {
    let mut version: Option<String> = None;
    let mut wait = BACK_OFF.0;
    loop {
        let begun = match version.take() {
            None => {
                stats.lists.fetch_add(1, Ordering::Relaxed);
                list(&client, &source, &items).await
            }
            Some(version) => watch(&client, &source, version, &items).await,
        };
        match begun {
            Ok(Ended::Closed) => return,
            Ok(Ended::At(at)) => {
                version = Some(at);
                wait = BACK_OFF.0;
                continue;
            }
            Ok(Ended::Broken(at, why)) => {
                stats.broken.fetch_add(1, Ordering::Relaxed);
                failed(&why);
                version = at;
            }
            Err(error) => {
                stats.broken.fetch_add(1, Ordering::Relaxed);
                failed(&error);
            }
        }
        if items.is_closed() {
            return;
        }
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
        wait = (wait * 2).min(BACK_OFF.1);
    }
}

/// How a list or a watch ended.
enum Ended {
    /// In order, at a version.
    At(String),
    /// Nobody listens any more.
    Closed,
    /// Otherwise: go on at this version, or with a list.
    Broken(Option<String>, ClientError),
}

async fn list<T: Message + Default>(
    client: &Client,
    source: &Source,
    items: &Sender<Item<T>>,
) -> Result<Ended, ClientError> {
    let mut next = String::new();
    if items.send(Item::Begin).await.is_err() {
        return Ok(Ended::Closed);
    }
    loop {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("limit", &PAGE.to_string())
            .append_pair("continue", &next)
            .finish();
        let call = Call::get(format!("{}?{}&{query}", source.path, source.selector));
        let reply = client.send(Lane::Watch, &call).await?.success(&call)?;
        let page: wire::List = wire::open(reply.body).ok_or_else(|| call_broken(source, "the list is no protobuf"))?;
        for item in page.items {
            let object = T::decode(item).map_err(|error| call_broken(source, &error.to_string()))?;
            if items.send(Item::Object(object)).await.is_err() {
                return Ok(Ended::Closed);
            }
        }
        let meta = page.metadata.unwrap_or_default();
        if meta.r#continue.is_empty() {
            let ended = items.send(Item::End).await;
            return Ok(if ended.is_err() { Ended::Closed } else { Ended::At(meta.resource_version) });
        }
        next = meta.r#continue;
    }
}

fn call_broken(source: &Source, why: &str) -> ClientError {
    ClientError::Broken { method: "GET".to_owned(), path: source.path.to_owned(), why: why.to_owned() }
}

async fn watch<T: Message + Default>(
    client: &Client,
    source: &Source,
    mut version: String,
    items: &Sender<Item<T>>,
) -> Result<Ended, ClientError> {
    // Watches of several clients do not all end at once.
    let seconds = 300 + fastrand::u32(0..300);
    let call = Call::get(format!(
        "{}?{}&watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={version}",
        source.path, source.selector
    ));
    let mut frames = match client.watch(&call).await {
        Ok(frames) => frames,
        Err(error) if error.code() == Some(410) => return Ok(Ended::Broken(None, error)),
        Err(error) => return Ok(Ended::Broken(Some(version), error)),
    };
    loop {
        let frame = match frames.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(Ended::At(version)),
            Err(why) => return Ok(Ended::Broken(Some(version), call_broken(source, &why))),
        };
        let event = wire::WatchEvent::decode(frame).map_err(|error| call_broken(source, &error.to_string()))?;
        let raw = event.object.unwrap_or_default().raw;
        if event.r#type == "ERROR" {
            let status = wire::open::<wire::Status>(raw).unwrap_or_default();
            let error = ClientError::Refused {
                method: "GET".to_owned(),
                path: source.path.to_owned(),
                code: status.code.try_into().unwrap_or(500),
                reason: status.reason,
                message: status.message,
            };
            return Ok(Ended::Broken(None, error));
        }
        let whole = wire::unseal(raw).ok_or_else(|| call_broken(source, "an event is no protobuf"))?.1;
        let written = wire::Written::decode(whole.clone()).ok().and_then(|one| one.metadata);
        if let Some(meta) = written {
            version = meta.resource_version;
        }
        let object = || T::decode(whole).map_err(|error| call_broken(source, &error.to_string()));
        let item = match event.r#type.as_str() {
            "ADDED" | "MODIFIED" => Item::Object(object()?),
            "DELETED" => Item::Removed(object()?),
            _ => continue,
        };
        if items.send(item).await.is_err() {
            return Ok(Ended::Closed);
        }
    }
}
