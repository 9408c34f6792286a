//! A cluster as a picture in the terminal.

use anstyle::{AnsiColor, Style};
use seaworthy_provision::cluster::{ComponentStatus, HostStatus, Status};
use seaworthy_provision::host::unit::State;

fn color(state: State) -> Style {
    let color = match state {
        State::Ready => AnsiColor::Green,
        State::Starting | State::Frozen => AnsiColor::Yellow,
        State::Waiting | State::Stopped => AnsiColor::Red,
    };
    Style::new().fg_color(Some(color.into()))
}

fn word(state: State) -> &'static str {
    match state {
        State::Ready => "ready",
        State::Starting => "not ready",
        State::Waiting => "waiting",
        State::Stopped => "stopped",
        State::Frozen => "paused",
    }
}

/// The picture: a box for each host, its components within.
pub(super) fn picture(status: &Status) -> String {
    let mut text = format!("{}  Kubernetes {}", status.name, status.kubernetes);
    if let Some(endpoint) = &status.endpoint {
        text += &format!("  https://{endpoint}");
    }
    text.push('\n');
    for host in &status.hosts {
        text += &draw(host);
    }
    text
}

fn draw(host: &HostStatus) -> String {
    let bold = Style::new().bold();
    let addresses: Vec<_> = host.addresses.iter().map(ToString::to_string).collect();
    let zone = host.zone.as_ref().map(|zone| format!("  zone {zone}")).unwrap_or_default();
    let (dot, life) = match host.pid {
        Some(_) => (Style::new().fg_color(Some(AnsiColor::Green.into())), ""),
        None => (Style::new().fg_color(Some(AnsiColor::Red.into())), "  down"),
    };
    let mut text = format!("{dot}●{dot:#} {bold}{}{bold:#}  {}{zone}{life}\n", host.name, addresses.join(" "));
    for (at, one) in host.components.iter().enumerate() {
        let last = at + 1 == host.components.len();
        text += &component(one, if last { "└" } else { "├" });
    }
    text
}

fn component(one: &ComponentStatus, corner: &str) -> String {
    let style = color(one.state);
    let mut text = format!("  {corner}─ {:26}{style}{}{style:#}", one.name, word(one.state));
    if one.restarts > 0 {
        text += &format!("  {} restarts", one.restarts);
    }
    if let Some(why) = one.why.as_ref().filter(|_| one.state != State::Ready) {
        text += &format!("  {why}");
    }
    text.push('\n');
    for (name, count) in &one.backends {
        let state = serde_json::to_value(count.state).ok();
        let state = state.as_ref().and_then(|state| state.as_str()).unwrap_or_default();
        text += &format!(
            "       {name:10} {state:8} {} open, {} carried, {} refused\n",
            count.open, count.carried, count.refused
        );
    }
    text
}
