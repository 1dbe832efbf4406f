//! `kinora keys`: makes, lists and ends the keys of a server, in its own records.

use std::time::Duration;

use anyhow::Context;
use kinora_server::{Allowance, Key, NewKey, Scope, open_keys};

use super::table::columns;
use crate::args::{CreateKey, KeyScope, Keys, KeysAction};
use crate::stdout;

/// Does what the arguments say.
pub fn run(args: &Keys) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start")?;
    let keys = open_keys(&args.folder, args.jobs.as_deref(), args.files.as_deref())?;
    let said = match &args.action {
        KeysAction::Create(new) => format!("{}\n", runtime.block_on(keys.create(&new_key(new)))?.reveal()),
        KeysAction::List => table(&runtime.block_on(keys.list())?),
        KeysAction::Revoke { name } => format!("{} is revoked\n", runtime.block_on(keys.revoke(name))?.name),
    };
    stdout::write(said.as_bytes())
}

fn new_key(args: &CreateKey) -> NewKey {
    let usual = NewKey::new(&args.name, &args.project);
    let unlimited = Allowance::default();
    NewKey {
        scopes: match args.scopes.is_empty() {
            true => usual.scopes.clone(),
            false => args.scopes.iter().copied().map(scope).collect(),
        },
        lifetime: args.days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600)),
        requests_per_minute: args.requests_per_minute,
        allowance: Allowance {
            weight: args.share,
            max_queued: args.max_queued.unwrap_or(unlimited.max_queued),
            max_running: args.max_running.unwrap_or(unlimited.max_running),
            max_priority: i32::try_from(args.max_priority).unwrap_or(i32::MAX),
        },
        ..usual
    }
}

fn scope(scope: KeyScope) -> Scope {
    match scope {
        KeyScope::Read => Scope::Read,
        KeyScope::Write => Scope::Write,
        KeyScope::Admin => Scope::Admin,
    }
}

fn table(keys: &[Key]) -> String {
    let heading = ["NAME", "PROJECT", "MAY", "STATE"].map(str::to_owned);
    let row = |key: &Key| {
        let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.name()).collect();
        let state = match (key.revoked_at, key.expires_at) {
            (Some(_), _) => "revoked".to_owned(),
            (None, Some(at)) => format!("until {}", day_of(at.as_ms())),
            (None, None) => "works".to_owned(),
        };
        [key.name.clone(), key.project.clone(), scopes.join(", "), state]
    };
    columns(&std::iter::once(heading).chain(keys.iter().map(row)).collect::<Vec<_>>())
}

/// The day of a moment in milliseconds since 1970, by the rules of the calendar (Hinnant's `civil_from_days`).
fn day_of(ms: i64) -> String {
    let days = ms.div_euclid(86_400_000) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * shifted + 2) / 5 + 1, (shifted + 2) % 12 + 1);
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::day_of;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (ms, day) in [
            (0, "1970-01-01"),
            (951_782_400_000, "2000-02-29"),
            (1_790_208_000_000, "2026-09-24"),
            (-1, "1969-12-31"),
        ] {
            assert_eq!(day_of(ms), day);
        }
    }
}
