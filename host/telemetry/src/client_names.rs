//! `watchgate_clients_total`: how often which client software introduced itself. Anybody can invent names, and there are not that many
//! real ones, so a bounded number have a label, and old ones give way.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::bounded_names::cut;
use crate::families::Families;
use crate::intern::OTHER;

/// Names with a label of their own.
const MOST_NAMES: usize = 100;
/// A name that did not come for so long gives way to one that comes.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);
/// One that came only once does after this time: who invents names holds none of them for long. It also bounds how many series a scraper
/// gets to see in a day.
const FORGOTTEN_IF_ONCE: Duration = Duration::from_secs(3600);

/// The names that have a label now.
#[derive(Default)]
pub(crate) struct ClientNames {
    seen: Mutex<HashMap<Box<str>, Seen>>,
}

struct Seen {
    last: Instant,
    is_regular: bool,
}

impl ClientNames {
    /// Counts an introduction at the moment `at`. A name that gives way takes its series with it.
    pub fn count(&self, families: &Families, version: &str, name: &str, at: Instant) {
        // Held while the series is counted: one of a name that has given way must not come back.
        let mut seen = self.seen.lock();
        let label = if matches!(name, "" | OTHER) { name } else { label(&mut seen, families, cut(name), at) };
        families.clients.with(&[label, version]).inc();
    }
}

fn label<'a>(seen: &mut HashMap<Box<str>, Seen>, families: &Families, name: &'a str, at: Instant) -> &'a str {
    if let Some(known) = seen.get_mut(name) {
        *known = Seen { last: known.last.max(at), is_regular: true };
        return name;
    }
    if seen.len() >= MOST_NAMES {
        let oldest = seen.iter().filter(|(_, known)| known.is_forgotten(at)).min_by_key(|(_, known)| (known.is_regular, known.last));
        let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { return OTHER };
        seen.remove(&oldest);
        families.clients.remove_under(&[&oldest]);
    }
    seen.insert(name.into(), Seen { last: at, is_regular: false });
    name
}

impl Seen {
    fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= if self.is_regular { FORGOTTEN } else { FORGOTTEN_IF_ONCE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buckets::HistogramBuckets;

    #[test]
    fn real_names_come_through_and_the_number_stays_bounded() {
        let families = Families::new(&HistogramBuckets::default());
        let names = ClientNames::default();
        let start = Instant::now();
        let at = |hours: u64| start + Duration::from_secs(hours * 3600);
        let count = |name: &str, hours: u64| names.count(&families, "", name, at(hours));
        let counted = |name: &str| families.clients.get(&[name, ""]).map(|counter| counter.get());
        count("regular", 0);
        count("regular", 0);
        (0..MOST_NAMES - 1).for_each(|index| count(&format!("invented-{index}"), 0));
        count("real", 0);
        assert_eq!((counted("real"), counted(OTHER)), (None, Some(1)));
        count("real", 1);
        count("real", 1);
        assert_eq!((counted("real"), counted("regular")), (Some(2), Some(2)));
        (0..10 * MOST_NAMES).for_each(|index| count(&format!("again-{index}"), 1));
        assert_eq!((counted("real"), counted("regular")), (Some(2), Some(2)), "regular ones stay for a day");
        assert_eq!(families.clients.len(), MOST_NAMES + 1);
        (0..10 * MOST_NAMES).for_each(|index| count(&format!("next-day-{index}"), 25));
        assert_eq!((counted("real"), counted("regular")), (None, None));
        assert_eq!(families.clients.len(), MOST_NAMES + 1);
        count("", 26);
        assert_eq!(counted(""), Some(1));
    }
}
