"""The command line: translates words into calls of the engine and answers into text; decides nothing."""
