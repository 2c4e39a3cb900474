//! Configurations of issuers: what is read, and what is refused.
