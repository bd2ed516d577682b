/* What the files of the test program share. */
#pragma once

/* A verb and how many arguments it takes. */
struct verb {
	const char *name;
	int arguments;
	int (*run)(char **argv);
};

extern const struct verb LIMIT_VERBS[];
extern const unsigned LIMIT_VERB_COUNT;
extern const struct verb NETWORK_VERBS[];
extern const unsigned NETWORK_VERB_COUNT;

/* Print "ok", or the name of errno where `result` is negative; gives 0. */
int say(long result);
const char *error_name(int error);
