//! A file a page: what it shows and what can be done there. What there is comes from [`super::data`], never from a store.

pub(super) mod overview;
pub(super) mod sign_in;
