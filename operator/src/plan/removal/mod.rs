//! Whether Services that are missing may go: many at once are more likely a mistake than a wish.
//!
//! ```text
//!  Endpoints now ───────────────┐
//!  Remembered (ConfigMap) ──────┼─► RemovalGuard::judge ──► Remembered ──► guarded: endpoints that stay, ConfigMaps
//!  spec, annotation, the time ──┘                      └──► HeldRemoval: what people are told
//! ```

mod guard;
mod guarded;
mod held;
mod remembered;
mod selection;

pub use guard::RemovalGuard;
pub use guarded::{Guarded, guarded};
pub use held::HeldRemoval;
pub use remembered::{Missing, ROOM, Remembered, RememberedError};
