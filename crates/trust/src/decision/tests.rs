//! The decision, rule by rule, and the properties of SEMANTICS §4.

mod closure;
mod properties;
mod rules;
