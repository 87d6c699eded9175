"""From a suite to a plan: levels, designs, variants, trials."""
