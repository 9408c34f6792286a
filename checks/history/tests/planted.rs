//! One anomaly of each kind is planted into a history that is else good, and found.

mod simulate;

use std::cell::Cell;

use fastrand::Rng;
use proptest::prelude::*;
use seaworthy_history::{Action, Consistency, History, Kind, Operation, Outcome, Seen, WatchItem, WatchKind, judge};
use simulate::{SMALL, good};

/// Nothing if the history has no place for it.
type Plant = fn(&mut History, &mut Rng) -> Option<()>;

fn finds(kind: Kind, plant: Plant) {
    let planted = Cell::new(0);
    let config =
        ProptestConfig { cases: 60, max_global_rejects: 5000, failure_persistence: None, ..ProptestConfig::default() };
    let result = proptest::test_runner::TestRunner::new(config).run(&any::<u64>(), |seed| {
        let mut history = good(seed, SMALL);
        let before = judge(&history);
        prop_assert!(before.is_clean(), "{:#?}", before);
        prop_assume!(plant(&mut history, &mut Rng::with_seed(seed)).is_some());
        planted.set(planted.get() + 1);
        let judgment = judge(&history);
        let kinds: Vec<_> = judgment.anomalies.iter().map(|anomaly| anomaly.kind).collect();
        prop_assert!(kinds.contains(&kind), "found only {:?}", kinds);
        Ok(())
    });
    assert_eq!(result, Ok(()));
    assert!(planted.get() >= 60, "{planted:?}");
}

fn choose<T>(random: &mut Rng, all: Vec<T>) -> Option<T> {
    let at = (!all.is_empty()).then(|| random.usize(0..all.len()))?;
    all.into_iter().nth(at)
}

fn done(operation: &Operation) -> Option<Seen> {
    match operation.outcome {
        Outcome::Done { version: Some(version) } => Some(Seen { payload: operation.action.payload()?, version }),
        _ => None,
    }
}

fn quiet(history: &History, key: &str) -> bool {
    let unknown = |one: &Operation| matches!(one.outcome, Outcome::Unknown { .. });
    !history.operations.iter().any(|one| one.key == key && unknown(one))
}

/// Updates that were acknowledged: their place, what they replaced, what they wrote.
fn updates(history: &History) -> Vec<(usize, Seen, Seen)> {
    let update = |(index, one): (usize, &Operation)| Some((index, one.action.replaces()?, done(one)?));
    history.operations.iter().enumerate().filter_map(update).collect()
}

fn old_read(history: &mut History, random: &mut Rng) -> Option<()> {
    let mut all = Vec::new();
    for (index, replaced, written) in updates(history) {
        let update = &history.operations[index];
        for (read, one) in history.operations.iter().enumerate() {
            let later = one.key == update.key && Some(one.invoked) > update.completed;
            let quorum = one.action == Action::Get { consistency: Consistency::Quorum };
            if later && quorum && one.outcome == (Outcome::Found { seen: written }) {
                all.push((read, replaced));
            }
        }
    }
    let (read, seen) = choose(random, all)?;
    history.operations[read].outcome = Outcome::Found { seen };
    Some(())
}

/// A key that is there at the end by a write that was acknowledged and whose fate no unknown request blurs.
fn settled(history: &History, random: &mut Rng) -> Option<(String, Seen, Seen)> {
    let all = updates(history).into_iter().filter_map(|(index, replaced, written)| {
        let key = &history.operations[index].key;
        let last = history.finals[0].objects.get(key) == Some(&written);
        (last && quiet(history, key)).then(|| (key.clone(), replaced, written))
    });
    let all = all.collect();
    choose(random, all)
}

fn events(history: &History, server: usize) -> Vec<usize> {
    let entries = history.watches[server].entries.iter().enumerate();
    entries.filter(|(_, entry)| matches!(entry.item, WatchItem::Event { .. })).map(|(index, _)| index).collect()
}

#[test]
fn an_answer_that_no_order_explains() {
    finds(Kind::NotLinearizable, old_read);
}

#[test]
fn an_object_that_is_gone_between_two_reads() {
    finds(Kind::NotLinearizable, |history, random| {
        let reads = history.operations.iter().enumerate().filter(|(_, one)| {
            let quorum = one.action == Action::Get { consistency: Consistency::Quorum };
            let deletes = history.operations.iter().any(|other| {
                other.key == one.key
                    && matches!(other.action, Action::Delete { .. })
                    && matches!(other.outcome, Outcome::Done { .. } | Outcome::Unknown { .. })
            });
            quorum && !deletes && matches!(one.outcome, Outcome::Found { .. })
        });
        let reads = reads.map(|(index, _)| index).collect();
        let read = choose(random, reads)?;
        // The read is after the create in any order only if somebody knew the object before.
        let key = history.operations[read].key.clone();
        let known = history
            .operations
            .iter()
            .any(|one| one.key == key && Some(history.operations[read].invoked) > one.completed && done(one).is_some());
        known.then(|| history.operations[read].outcome = Outcome::NotFound)
    });
}

#[test]
fn an_old_quorum_read() {
    finds(Kind::StaleRead, old_read);
}

#[test]
fn a_write_that_is_lost() {
    finds(Kind::LostWrite, |history, random| {
        let (key, replaced, _) = settled(history, random)?;
        let gone = random.bool();
        for last in &mut history.finals {
            if gone {
                last.objects.remove(&key);
            } else {
                last.objects.insert(key.clone(), replaced);
            }
        }
        Some(())
    });
}

#[test]
fn a_write_that_one_member_lacks() {
    finds(Kind::PlacesDisagree, |history, random| {
        let (key, replaced, _) = settled(history, random)?;
        history.finals[3].objects.insert(key, replaced);
        Some(())
    });
}

#[test]
fn a_write_that_is_carried_out_twice() {
    finds(Kind::WrittenTwice, |history, random| {
        let (key, _, written) = settled(history, random)?;
        let version = history.finals.iter().flat_map(|last| last.objects.values()).map(|seen| seen.version).max()? + 1;
        for last in &mut history.finals {
            last.objects.insert(key.clone(), Seen { version, ..written });
        }
        Some(())
    });
}

#[test]
fn two_writes_that_replace_the_same_state() {
    finds(Kind::Fork, |history, random| {
        let (index, replaces, written) = choose(random, updates(history))?;
        let mut other = history.operations[index].clone();
        other.client = 1000;
        other.connection = 1000;
        other.action = Action::Update { payload: 1_000_000, replaces };
        other.outcome = Outcome::Done { version: Some(written.version + 1000) };
        history.operations.push(other);
        Some(())
    });
}

#[test]
fn a_state_that_nobody_wrote() {
    finds(Kind::Phantom, |history, random| {
        let found = |one: &Operation| matches!(one.outcome, Outcome::Found { .. });
        let all = history.operations.iter().enumerate().filter(|(_, one)| found(one)).map(|(index, _)| index);
        let index = choose(random, all.collect())?;
        let Outcome::Found { seen } = &mut history.operations[index].outcome else { return None };
        seen.payload = 999_999;
        Some(())
    });
}

#[test]
fn a_refused_write_that_takes_effect() {
    finds(Kind::RefusedWriteTookEffect, |history, random| {
        let (index, ..) = choose(random, updates(history))?;
        let reasons = [Outcome::Conflict, Outcome::Rejected { reason: "HTTP 429".to_owned() }];
        let seen = history.finals[0]
            .objects
            .values()
            .any(|seen| Some(seen.payload) == history.operations[index].action.payload());
        history.operations[index].outcome = choose(random, reasons.into())?;
        seen.then_some(())
    });
}

#[test]
fn a_read_that_goes_back_on_one_connection() {
    finds(Kind::ReadWentBack, |history, random| {
        let cached = random.bool();
        let wanted = if cached { Consistency::Cached } else { Consistency::Quorum };
        let reads = history.operations.iter().enumerate().filter_map(|(index, one)| match &one.outcome {
            Outcome::Found { seen } if one.action == Action::Get { consistency: wanted } => Some((index, one, *seen)),
            _ => None,
        });
        let reads = reads.collect::<Vec<_>>();
        let mut all = Vec::new();
        for (_, first, seen) in &reads {
            for (second, other, _) in &reads {
                let same = first.connection == other.connection && first.key == other.key;
                if same && first.completed <= Some(other.invoked) && first.invoked != other.invoked {
                    let older = updates(history).into_iter().find(|(.., written)| written == seen);
                    all.extend(older.map(|(_, replaced, _)| (*second, replaced)));
                }
            }
        }
        let (read, seen) = choose(random, all)?;
        history.operations[read].outcome = Outcome::Found { seen };
        Some(())
    });
}

#[test]
fn a_version_that_goes_back() {
    finds(Kind::VersionWentBack, |history, random| {
        let (index, replaced, _) = choose(random, updates(history))?;
        history.operations[index].outcome = Outcome::Done { version: Some(replaced.version - 1) };
        Some(())
    });
}

#[test]
fn a_version_that_two_writes_have() {
    finds(Kind::VersionReused, |history, random| {
        let all = updates(history);
        let (index, ..) = choose(random, all.clone())?;
        let key = &history.operations[index].key;
        let others = all.iter().filter(|(other, ..)| history.operations[*other].key != *key);
        let (_, _, written) = choose(random, others.copied().collect())?;
        history.operations[index].outcome = Outcome::Done { version: Some(written.version) };
        Some(())
    });
}

#[test]
fn a_watch_that_reorders_two_events() {
    finds(Kind::WatchOutOfOrder, |history, random| {
        let events = events(history, 1);
        let pairs = events.windows(2).filter(|pair| pair[0] + 1 == pair[1]).map(|pair| pair[0]).collect();
        let at = choose(random, pairs)?;
        let entries = &mut history.watches[1].entries;
        let item = entries[at].item.clone();
        entries[at].item = std::mem::replace(&mut entries[at + 1].item, item);
        Some(())
    });
}

#[test]
fn a_watch_that_repeats_an_event() {
    finds(Kind::WatchRepeated, |history, random| {
        let at = choose(random, events(history, 2))?;
        let again = history.watches[2].entries[at].clone();
        history.watches[2].entries.insert(at + 1, again);
        Some(())
    });
}

#[test]
fn a_watch_that_swallows_an_event() {
    finds(Kind::WatchGap, |history, random| {
        let at = choose(random, events(history, 0))?;
        // Before a 410 or a new beginning it would not be missing.
        let next = &history.watches[0].entries.get(at + 1)?.item;
        if !matches!(next, WatchItem::Event { .. } | WatchItem::Bookmark { .. }) {
            return None;
        }
        let WatchItem::Event { seen, kind, .. } = history.watches[0].entries.remove(at).item else { return None };
        // Of a delete only other watches tell.
        let told = history.operations.iter().filter_map(done).any(|one| one == seen) || kind == WatchKind::Deleted;
        let lists = history.watches[1..].iter().flat_map(|watch| &watch.entries);
        let others =
            lists.filter(|entry| matches!(&entry.item, WatchItem::Event { seen: other, .. } if *other == seen));
        (told && others.count() == 2).then_some(())
    });
}

#[test]
fn a_list_that_is_older_than_it_says() {
    finds(Kind::WatchGap, |history, random| {
        let updates = updates(history);
        let mut all = Vec::new();
        for (at, entry) in history.watches[0].entries.iter().enumerate() {
            let WatchItem::Listed { objects, .. } = &entry.item else { continue };
            for (key, seen) in objects {
                let older = updates.iter().find(|(.., written)| written == seen);
                all.extend(older.map(|(_, replaced, _)| (at, key.clone(), *replaced)));
            }
        }
        let (at, key, replaced) = choose(random, all)?;
        let WatchItem::Listed { objects, .. } = &mut history.watches[0].entries[at].item else { return None };
        objects.insert(key, replaced);
        Some(())
    });
}

#[test]
fn a_watch_that_makes_an_event_up() {
    finds(Kind::WatchPhantom, |history, random| {
        let at = choose(random, events(history, 1))?;
        let payload = [999_999, history.operations.iter().find_map(done)?.payload][random.usize(0..2)];
        let WatchItem::Event { seen, .. } = &mut history.watches[1].entries[at].item else { return None };
        (std::mem::replace(&mut seen.payload, payload) != payload).then_some(())
    });
}

#[test]
fn a_watch_that_sends_the_wrong_type() {
    finds(Kind::WatchKindWrong, |history, random| {
        let at = choose(random, events(history, 1))?;
        let WatchItem::Event { kind, .. } = &mut history.watches[1].entries[at].item else { return None };
        *kind = match kind {
            WatchKind::Added => WatchKind::Modified,
            WatchKind::Modified => WatchKind::Added,
            WatchKind::Deleted => return None,
        };
        Some(())
    });
}

#[test]
fn a_bookmark_that_goes_back() {
    finds(Kind::WatchOutOfOrder, |history, random| {
        let all = history.watches[0].entries.iter().enumerate();
        let bookmarks = all.filter(|(_, entry)| matches!(entry.item, WatchItem::Bookmark { .. })).map(|(at, _)| at);
        let at = choose(random, bookmarks.collect())?;
        history.watches[0].entries[at].item = WatchItem::Bookmark { version: 1 };
        Some(())
    });
}

#[test]
fn a_watch_that_stays_behind() {
    finds(Kind::WatchBehind, |history, random| {
        let told = history.operations.iter().filter_map(done).map(|seen| seen.version).max()?;
        let events = events(history, 2);
        let before = events.into_iter().filter(|&at| match &history.watches[2].entries[at].item {
            WatchItem::Event { seen, .. } => seen.version < told,
            _ => false,
        });
        let at = choose(random, before.collect())?;
        history.watches[2].entries.truncate(at);
        Some(())
    });
}

#[test]
fn a_watch_that_sends_nothing() {
    finds(Kind::WatchBehind, |history, _| {
        history.watches[2].entries.clear();
        Some(())
    });
}

#[test]
fn a_lease_that_is_taken_early() {
    finds(Kind::LeaseTakenEarly, |history, random| {
        let changes = history.leases.windows(2).enumerate();
        let changes = changes.filter(|(_, pair)| pair[0].lease == pair[1].lease && pair[0].holder != pair[1].holder);
        let at = choose(random, changes.map(|(at, _)| at).collect())?;
        history.leases[at + 1].acquired = history.leases[at].renewed + 14_000_000_000;
        Some(())
    });
}

#[test]
fn a_former_holder_that_acts() {
    finds(Kind::ActedWithoutLease, |history, random| {
        let changes = history.leases.windows(2);
        let changes = changes.filter(|pair| pair[0].lease == pair[1].lease && pair[0].holder != pair[1].holder);
        let pair = choose(random, changes.map(<[_]>::to_vec).collect())?;
        let mut act = history.acts.iter().find(|act| act.lease == pair[0].lease)?.clone();
        act.author = pair[0].holder.clone()?;
        act.at = pair[1].acquired + 1_000_000;
        history.acts.push(act);
        Some(())
    });
}

#[test]
fn a_lease_that_does_not_count() {
    finds(Kind::TransitionNotCounted, |history, random| {
        let changes = history.leases.windows(2).enumerate();
        let changes = changes.filter(|(_, pair)| pair[0].lease == pair[1].lease && pair[0].holder != pair[1].holder);
        let at = choose(random, changes.map(|(at, _)| at).collect())?;
        history.leases[at + 1].transitions = history.leases[at].transitions;
        Some(())
    });
}
