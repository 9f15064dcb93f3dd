//! Starting, ending and being killed: what is left behind, and what goes on.
#![forbid(unsafe_code)]

mod crash;
mod leaks;
mod reload;
mod shutdown;
mod spawner_loss;
mod weight;
