DROP TABLE consumed_challenges;
