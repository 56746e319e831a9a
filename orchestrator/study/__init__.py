"""The plain data that all other rooms share: plan, ladder, search space, trials, state, folder."""
