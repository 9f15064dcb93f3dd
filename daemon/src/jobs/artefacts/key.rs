//! Under what an artefact is kept: a hash of all that the compile stage sees, and of who may share it.

use std::fmt::Write as _;

use crankcase_sandbox::spec::{SandboxSpec, SourceFile, StageCommand, StageLimits};
use sha2::{Digest as _, Sha256};

use crate::ids::UserId;
use crate::jobs::admission::RoomKey;

/// Who shares what was compiled. A fast answer tells that somebody of the same scope had the same sources compiled
/// before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everybody.
    Global,
    /// A room; outside of rooms a user, or an address of users without a name.
    Room,
    /// A user in a room.
    User,
}

/// The hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// All that a compile stage sees.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// Whose it is.
    pub party: &'a RoomKey,
    /// Of whom within the room.
    pub user: &'a UserId,
    /// The runtime's name.
    pub language: &'a str,
    /// What tells this toolchain from any other: [`crankcase_runtimes::Runtime::toolchain_identity`].
    pub toolchain: &'a str,
    /// Arguments and environment.
    pub command: &'a StageCommand,
    /// The work directory's content.
    pub files: &'a [SourceFile],
    /// The names of what it makes.
    pub artefacts: &'a [String],
    /// A compiler may behave differently under others.
    pub limits: &'a StageLimits,
    /// Likewise.
    pub sandbox: &'a SandboxSpec,
    /// Likewise, by being killed.
    pub output_bytes: usize,
}

impl Key {
    /// As a file's name: 64 hexadecimal digits.
    pub fn name(&self) -> String {
        hex::encode(self.0)
    }

    /// From a file's name.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(name, &mut bytes).ok()?;
        Some(Self(bytes)).filter(|key| key.name() == name)
    }
}

impl Inputs<'_> {
    /// The hash. Every field goes in with its length, so that no two different lists of fields give one text.
    pub fn key(&self, scope: Scope) -> Key {
        let mut hash = Hash(Sha256::new());
        hash.text("crankcase artefact 1");
        match (scope, self.party) {
            (Scope::Global, _) => hash.text("everybody"),
            (_, RoomKey::Room(room)) => hash.texts(["room", room.as_str()]),
            (_, RoomKey::User(user)) => hash.texts(["user", user.as_str()]),
            (_, RoomKey::Address(address)) => hash.texts(["address", &address.to_string()]),
        }
        if scope == Scope::User {
            hash.text(self.user.as_str());
        }
        hash.texts([self.language, self.toolchain]);
        hash.number(self.command.argv.len());
        self.command.argv.iter().for_each(|word| hash.text(word));
        hash.number(self.command.env.len());
        self.command.env.iter().for_each(|(key, value)| hash.texts([key, value]));
        hash.number(self.files.len());
        for file in self.files {
            hash.text(&file.name);
            hash.bytes(&file.content);
            hash.number(usize::from(file.executable));
        }
        hash.number(self.artefacts.len());
        self.artefacts.iter().for_each(|name| hash.text(name));
        // Plain numbers all of them; their order is the type's own.
        let mut limits = String::new();
        let _ = write!(limits, "{:?} {:?} {}", self.limits, self.sandbox, self.output_bytes);
        hash.text(&limits);
        Key(hash.0.finalize().into())
    }
}

struct Hash(Sha256);

impl Hash {
    fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn texts<const N: usize>(&mut self, texts: [&str; N]) {
        texts.iter().for_each(|text| self.text(text));
    }
}
