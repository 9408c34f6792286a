//! Claims about the clocks of servers: certificates and tokens are valid by the time of whoever looks at them.

use super::{Facts, checks_of};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;
use crate::pki::Check;
use crate::pki::tally::Tally;

const DATE: &str = "https://www.rfc-editor.org/rfc/rfc9110#name-date";
const KUBEADM: &str = "https://github.com/kubernetes/kubernetes/blob/v1.37.2/cmd/kubeadm/app/constants/constants.go";
const JOSE: &str = "https://pkg.go.dev/gopkg.in/go-jose/go-jose.v2/jwt#pkg-constants";

/// By how much kubeadm backdates its CAs, in seconds, for clocks that lag (kubeadm, `CertificateBackdate`).
const BACKDATED: i64 = 300;
/// By how much the times in a token may be off, in seconds (go-jose, `jwt.DefaultLeeway`, by which API servers verify
/// tokens of service accounts).
const LEEWAY: i64 = 60;

/// Goes through the clocks, and tells of those of which it counts by how many seconds they are off.
fn clocks(facts: &Facts, tally: &mut Tally, counts: impl Fn(i64) -> bool, wanted: &str) {
    let known = facts.endpoints.iter().filter_map(|one| Some((one, *one.need(&one.clock, tally)?)));
    let all: Vec<_> = known.collect();
    for (endpoint, clock) in &all {
        tally.look();
        let seconds = clock.seconds();
        if !counts(seconds.abs()) {
            continue;
        }
        let mut others = all.iter().filter(|(other, _)| other.address.ip() != endpoint.address.ip()).peekable();
        let agree = others.peek().is_some() && others.all(|(_, other)| other.agrees_with(*clock));
        let title = endpoint.title();
        let message = format!(
            "the clock of {title} is {} seconds {} that of the machine that asked{}",
            seconds.abs(),
            if seconds > 0 { "ahead of" } else { "behind" },
            if agree { ", and so are all the others: it is that machine's that is wrong" } else { "" }
        );
        tally.breach(Breach::new(&title, message).found(format!("{seconds} s")).wanted(wanted));
    }
}

/// The claims about clocks.
pub(super) fn checks() -> Vec<Check> {
    let set = || {
        Remedy::new("Have both follow the same time server, and see that they reach it.")
            .command("timedatectl status")
            .command("chronyc tracking")
    };
    vec![
        checks_of("pki.live.clock", "no server's clock is five minutes off", |facts, _, tally| {
            clocks(facts, tally, |off| off > BACKDATED, "less than 300 s");
        })
        .severity(Severity::High)
        .alias("PKI-V03")
        .alias("certificate has expired or is not yet valid: current time is before")
        .page(
            "A certificate that was just issued is not valid yet to who is behind, and one that was renewed in time \
             has expired to who is ahead. kubeadm backdates by five minutes, which is as far as clocks may be apart. \
             What this audit says of validity is by the clock of the machine that it runs on, too.",
            "Asks the API server and kubelets for /healthz as nobody in particular, and compares the Date of the \
             answer, whatever the answer is, with the times at which it was asked for and had. What a second and the \
             way there and back may account for is no difference.",
        )
        .basis("RFC 9110 section 6.6.1: Date", DATE)
        .basis("kubeadm: CertificateBackdate", KUBEADM)
        .remedy(set()),
        checks_of("pki.live.clock-drift", "no server's clock is a minute off", |facts, _, tally| {
            clocks(facts, tally, |off| off > LEEWAY && off <= BACKDATED, "less than 60 s");
        })
        .severity(Severity::Medium)
        .alias("PKI-V03")
        .alias("service account token is not valid yet")
        .alias("prober found high clock drift")
        .page(
            "A token of a service account that one API server has issued is not valid yet to another that is more than \
             a minute behind. etcd warns of a second between its members.",
            "As pki.live.clock does, of what is off by less than five minutes.",
        )
        .basis("RFC 9110 section 6.6.1: Date", DATE)
        .basis("go-jose: DefaultLeeway", JOSE)
        .remedy(set()),
    ]
}
