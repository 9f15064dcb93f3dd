//! From a checked value to the plain type of a field.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crankcase_sandbox::spec::{CpuQuota, CpuTime, MemoryMax, PidsMax, TmpfsInodes, TmpfsSize, WallTime};

use ipnet::IpNet;

use super::kind::Checked;
use super::secret::Secret;

/// A field's type. None from a value of another kind: a mistake in the table of keys, not in a file.
pub trait FromChecked: Sized {
    /// Converts.
    fn from_checked(checked: Checked) -> Option<Self>;
}

/// The number of any kind that has one.
fn number(checked: &Checked) -> Option<u64> {
    match checked {
        Checked::Integer(number) => u64::try_from(*number).ok(),
        Checked::Thousandths(number) | Checked::Bytes(number) | Checked::Millis(number) => Some(*number),
        _ => None,
    }
}

macro_rules! from_number {
    ($($type:ty: $convert:expr;)*) => {
        $(impl FromChecked for $type {
            fn from_checked(checked: Checked) -> Option<Self> {
                number(&checked).and_then($convert)
            }
        })*
    };
}

from_number! {
    u64: Some;
    u32: |n| u32::try_from(n).ok();
    usize: |n| usize::try_from(n).ok();
    Duration: |n| Some(Duration::from_millis(n));
    MemoryMax: |n| MemoryMax::new(n).ok();
    PidsMax: |n| PidsMax::new(n).ok();
    CpuQuota: |n| CpuQuota::new(n).ok();
    WallTime: |n| WallTime::new(n).ok();
    CpuTime: |n| CpuTime::new(n).ok();
    TmpfsSize: |n| TmpfsSize::new(n).ok();
    TmpfsInodes: |n| TmpfsInodes::new(n).ok();
}

macro_rules! from_variant {
    ($($type:ty: $variant:ident($value:ident) => $convert:expr;)*) => {
        $(impl FromChecked for $type {
            fn from_checked(checked: Checked) -> Option<Self> {
                match checked {
                    Checked::$variant($value) => $convert,
                    _ => None,
                }
            }
        })*
    };
}

from_variant! {
    bool: Flag(flag) => Some(flag);
    i32: Integer(number) => i32::try_from(number).ok();
    String: Text(text) => Some(text);
    PathBuf: Text(text) => Some(text.into());
    IpNet: Text(text) => text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(Self::from));
    Secret: Text(text) => Some(Self::new(text));
    SocketAddr: Address(address) => Some(address);
}

impl<T: FromChecked> FromChecked for Vec<T> {
    fn from_checked(checked: Checked) -> Option<Self> {
        match checked {
            Checked::List(values) => values.into_iter().map(T::from_checked).collect(),
            _ => None,
        }
    }
}

/// The word (`auto`, `off`, `all`) and an unset key are none.
impl<T: FromChecked> FromChecked for Option<T> {
    fn from_checked(checked: Checked) -> Option<Self> {
        match checked {
            Checked::Word => Some(None),
            other => T::from_checked(other).map(Some),
        }
    }
}
