//! The program from outside: what it prints, how it starts, reloads, upgrades and ends.

mod life;
mod lines;
mod place;
