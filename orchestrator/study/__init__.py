"""Plain data that every other room speaks of: plan, ladder, space, trials, state."""
