//! Watching: the operator's own index of StoreAPI Services, and who is woken by what.

mod index;
mod service;
mod slice;

pub use index::{Change, Index, Row, Scope};
pub use service::{ServiceForm, StoreApiService, StorePort};
pub use slice::{SERVICE_LABEL, StoreApiSlice};
