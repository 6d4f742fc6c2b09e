//! Models of the lock protocol.

mod call;
mod daemons;
mod disk;
mod filling_disk;
mod locking;
mod model;
mod no_room;
mod omission;
mod party;
mod pins;
mod promise;
mod remover;
mod turn;
