//! The program itself: killed anywhere and started again, it ends with one bill, settled once, and the right balances.

mod kill;
mod program;
