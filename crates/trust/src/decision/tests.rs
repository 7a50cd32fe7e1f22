//! The decision, rule by rule, and the properties of SEMANTICS §4.

mod closure;
mod fallbacks;
mod narrowing;
mod properties;
mod rules;
