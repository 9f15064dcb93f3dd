//! Who is in a room, in the order of joining; the first is the host.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ids::UserId;

/// One connection's name, unique over all daemons and all time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct MemberId(Arc<str>);

impl From<String> for MemberId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<MemberId> for String {
    fn from(id: MemberId) -> Self {
        id.0.as_ref().into()
    }
}

impl MemberId {
    /// From a socket's id.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which shapes a member understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialect {
    /// Joined without `userId`: `code-update` and `language-update` are bare strings.
    Old,
    /// Joined with `userId`: objects with `sequence` and `username`.
    Current,
}

/// One connection in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The connection.
    pub id: MemberId,
    /// Who it says it is; its own id in the older dialect.
    pub user: UserId,
    /// The name shown to the others.
    pub username: String,
    /// The colour of its cursor, as given.
    pub color: Option<String>,
    /// Which shapes it understands.
    pub dialect: Dialect,
    /// The name its cursor was last shown under.
    pub cursor_name: Option<String>,
    /// Orders the members of several daemons: microseconds of the clock that all share. 0 with one daemon,
    /// whose members are in the order in which they are added.
    #[serde(skip)]
    pub place: u64,
}

impl Member {
    fn participant(&self, host: bool) -> Value {
        json!({
            "username": self.username,
            "userId": self.user.as_str(),
            "color": self.color,
            "isActive": true,
            "isHost": host,
        })
    }
}

/// What joining did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// It was not there before.
    New,
    /// It was there, and its name, colour, user or dialect is another now.
    Changed,
    /// It was there, just so.
    Same,
    /// The room is full.
    Full,
}

/// The members of one room. **Invariants.** No id is in it twice; places never decrease along it.
#[derive(Debug, Default)]
pub struct Members {
    list: Vec<Member>,
}

impl Members {
    /// Adds or updates; a member that joins again keeps its place.
    pub fn join(&mut self, mut member: Member, max: usize) -> Joining {
        if let Some(present) = self.list.iter_mut().find(|present| present.id == member.id) {
            member.cursor_name.clone_from(&present.cursor_name);
            member.place = present.place;
            if *present == member {
                return Joining::Same;
            }
            *present = member;
            return Joining::Changed;
        }
        if self.list.len() >= max {
            return Joining::Full;
        }
        let at = self.list.partition_point(|present| present.place <= member.place);
        self.list.insert(at, member);
        Joining::New
    }

    /// Removes; none when it was not there.
    pub fn leave(&mut self, id: &MemberId) -> Option<Member> {
        let place = self.list.iter().position(|member| member.id == *id)?;
        Some(self.list.remove(place))
    }

    /// The member of this id.
    #[must_use]
    pub fn get(&self, id: &MemberId) -> Option<&Member> {
        self.list.iter().find(|member| member.id == *id)
    }

    /// As [`Members::get`], to change.
    pub fn get_mut(&mut self, id: &MemberId) -> Option<&mut Member> {
        self.list.iter_mut().find(|member| member.id == *id)
    }

    /// The one who has been there longest.
    #[must_use]
    pub fn host(&self) -> Option<&Member> {
        self.list.first()
    }

    /// Whether it is the host.
    #[must_use]
    pub fn is_host(&self, id: &MemberId) -> bool {
        self.host().is_some_and(|host| host.id == *id)
    }

    /// All, in the order of joining.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nobody is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The `participants-list` for one of them: all the others.
    #[must_use]
    pub fn participants_for(&self, recipient: &MemberId) -> Value {
        self.list
            .iter()
            .enumerate()
            .filter(|(_, member)| member.id != *recipient)
            .map(|(place, member)| member.participant(place == 0))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str) -> Member {
        Member {
            id: MemberId::new(id),
            user: UserId::new(id).unwrap(),
            username: id.to_uppercase(),
            color: None,
            dialect: Dialect::Current,
            cursor_name: None,
            place: 0,
        }
    }

    #[test]
    fn the_host_is_who_was_there_longest() {
        let mut members = Members::default();
        for id in ["a", "b", "c"] {
            assert_eq!(members.join(member(id), 3), Joining::New);
        }
        assert_eq!(members.join(member("d"), 3), Joining::Full);
        assert_eq!(members.join(member("a"), 3), Joining::Same);
        assert!(members.is_host(&MemberId::new("a")));
        members.leave(&MemberId::new("a"));
        assert!(members.is_host(&MemberId::new("b")));
        assert_eq!(members.leave(&MemberId::new("a")), None);
        assert_eq!(members.join(Member { username: "Z".to_owned(), ..member("b") }, 3), Joining::Changed);
        assert!(members.is_host(&MemberId::new("b")), "who joins again keeps its place");
    }

    #[test]
    fn nobody_is_in_its_own_list() {
        let mut members = Members::default();
        members.join(member("a"), 9);
        members.join(member("b"), 9);
        assert_eq!(
            members.participants_for(&MemberId::new("b")),
            json!([{"username": "A", "userId": "a", "color": null, "isActive": true, "isHost": true}])
        );
        assert_eq!(
            members.participants_for(&MemberId::new("a")),
            json!([{"username": "B", "userId": "b", "color": null, "isActive": true, "isHost": false}])
        );
    }
}
