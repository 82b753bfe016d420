//! Timers as Node keeps them: one list per duration, a heap of lists.
