//! Tests of the gateway from outside its modules. What needs the real services is tested with them, elsewhere.

mod addresses;
mod front;
mod paths;
mod ranges;
mod reasons;
mod services;
mod uploads;
