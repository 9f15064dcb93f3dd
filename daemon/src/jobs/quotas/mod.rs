//! Quotas of users and rooms: runs a minute, CPU seconds an hour, runs that wait at once.
//!
//! All are off by default. Whoever sends no name is known by the address (of IPv6 the network of 64 bits,
//! within which anybody can take any address). The configuration can be swapped at any time; what was used
//! by then stays on the account.
//!
//! **Invariants.** In no minute and no hour more is *begun* than the quota; CPU time is charged after the
//! run, so the last run may exceed its quota. A run that was refused or cancelled before its start does
//! not count. Memory is bounded whatever names clients make up.

mod ledger;
mod window;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub use self::ledger::{Kind, QuotaExceeded, SUBJECTS_MAX, Subject};

use self::ledger::Ledger;
use super::Refusal;
use crate::config::Quota;
pub use crate::config::Quotas as QuotaConfig;
use crate::ids::{RoomId, UserId};

/// The user of a request that names none.
const ANONYMOUS: &str = "anonymous";

impl Quota {
    /// Whether there is nothing to count: what bounds a single execution is no account's matter.
    const fn counts_nothing(self) -> bool {
        self.runs_per_minute.is_none() && self.cpu_seconds_per_hour.is_none() && self.queued.is_none()
    }
}

impl QuotaConfig {
    fn of(&self, subject: &Subject) -> Quota {
        match subject {
            Subject::User(_) | Subject::Address(_) => self.user,
            Subject::Room(_) => self.room,
        }
    }
}

impl From<QuotaExceeded> for Refusal {
    fn from(exceeded: QuotaExceeded) -> Self {
        Self::RateLimited {
            quota: exceeded.kind.label(),
            message: exceeded.to_string(),
            retry_after: exceeded.retry_after,
        }
    }
}

/// The handle that everybody shares.
#[derive(Clone)]
pub struct Quotas {
    shared: Arc<Mutex<State>>,
}

struct State {
    config: QuotaConfig,
    ledger: Ledger,
}

impl Quotas {
    /// Nothing used yet.
    #[must_use]
    pub fn new(config: QuotaConfig) -> Self {
        Self { shared: Arc::new(Mutex::new(State { config, ledger: Ledger::default() })) }
    }

    /// Another configuration from now on.
    pub fn reconfigure(&self, config: QuotaConfig) {
        self.lock().config = config;
    }

    /// Takes a run's place on the accounts of its user and its room, where they have quotas.
    ///
    /// # Errors
    /// [`QuotaExceeded`], which names the quota and when to come again; then nothing was charged.
    pub fn enter(&self, room: &RoomId, user: &UserId, address: Option<IpAddr>) -> Result<QuotaPlace, QuotaExceeded> {
        let now = Instant::now();
        let mut state = self.lock();
        let mut subjects = Vec::new();
        if !state.config.user.counts_nothing() {
            subjects.push(match address {
                Some(address) if user.as_str() == ANONYMOUS => Subject::Address(network(address)),
                _ => Subject::User(user.clone()),
            });
        }
        if !state.config.room.counts_nothing() && room.is_room() {
            subjects.push(Subject::Room(room.clone()));
        }
        let State { config, ledger } = &mut *state;
        ledger.enter(config, &subjects, now)?;
        drop(state);
        Ok(QuotaPlace { quotas: self.clone(), subjects, entered: now, ran: false })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quotas").finish_non_exhaustive()
    }
}

/// The whole of an IPv4 address, the network of an IPv6 one.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

/// A run that waits, on the accounts. Dropped before its start it is taken off them.
#[must_use = "a run that is dropped before its start does not count"]
#[derive(Debug)]
pub struct QuotaPlace {
    quotas: Quotas,
    subjects: Vec<Subject>,
    entered: Instant,
    ran: bool,
}

impl QuotaPlace {
    /// It waits no more, and counts as a run.
    pub fn started(mut self) -> QuotaAccount {
        self.ran = true;
        QuotaAccount { quotas: self.quotas.clone(), subjects: self.subjects.clone() }
    }
}

impl Drop for QuotaPlace {
    fn drop(&mut self) {
        if !self.subjects.is_empty() {
            self.quotas.lock().ledger.leave(&self.subjects, self.entered, self.ran, Instant::now());
        }
    }
}

/// Where a run's CPU time goes.
#[must_use = "the CPU time is to be charged"]
#[derive(Debug)]
pub struct QuotaAccount {
    quotas: Quotas,
    subjects: Vec<Subject>,
}

impl QuotaAccount {
    /// Charges the CPU time of all its stages.
    pub fn charge(self, cpu: Duration) {
        if !self.subjects.is_empty() {
            let mut state = self.quotas.lock();
            let State { config, ledger } = &mut *state;
            ledger.charge(config, &self.subjects, cpu, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
