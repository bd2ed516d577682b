/* The monitor, and the console that it keeps. */
#ifndef CLOISON_MONITOR_H
#define CLOISON_MONITOR_H

#include "launcher.h"

/* The most that is read from, or written to, a terminal at once. */
#define CHUNK 4096

/* --- steps_end.c --------------------------------------------------------- */

/* The plan, read anew, and the arguments of the monitor, which point into it;
 * false where it cannot be had. */
bool monitor_load(struct plan *plan, struct arg_monitor *arg);

/* --- monitor.c ----------------------------------------------------------- */

/* Serve until init has ended. Any of the descriptors may be -1; the console is
 * that of console_open. Takes ownership of the alarm. */
void monitor_watch(struct state *st, int listener, int console, int alarm);
/* Whether somebody asked for the end. */
bool monitor_is_stopping(void);
/* Whether somebody asked for it who does not wait for init. */
bool monitor_is_to_kill(void);
/* Answer those who wait. */
void monitor_farewell(int result, int status);
/* Send output to every client that is attached to the console. */
void stream_output(const char *bytes, size_t size);

/* --- console.c ----------------------------------------------------------- */

/* `master` may be -1: no console. Takes ownership. */
void console_open(int master, const char *log, int64_t log_size);
void console_close(void);
/* Move a chunk of output to the log and to the clients: the number of bytes,
 * 0 where there is none now, or -errno where the terminal has gone away. */
int console_take_output(void);
/* Send input to the terminal; what it does not take yet is kept. Only while
 * nothing is kept. */
void console_give_input(const char *bytes, size_t size);
/* Whether something is kept; and another try to be rid of it. */
bool console_has_input(void);
void console_flush_input(void);
int console_resize(uint32_t rows, uint32_t cols);
/* How much of the log a client has to read first, to miss nothing of what it
 * is then sent, and to see nothing twice. */
int32_t console_log_size(void);

/* --- alarm.c ------------------------------------------------------------- */

/* `fd` is what watch_oom gave, or -1; the event of poll(2) to wait for. Takes
 * ownership. */
short alarm_open(int fd);
void alarm_close(void);
/* Whether there is news since it was asked last. */
bool alarm_rings(void);
/* Run the plan's command for it. */
void alarm_answer(struct state *st);

/* Whether the command still runs: there is never more than one. */
bool alarm_is_answered(void);

/* --- record.c ------------------------------------------------------------ */

/* CLOCK_REALTIME. */
uint64_t now_ns(void);
void record_exit(const char *path, int status, uint64_t started,
		 unsigned failed);
/* Copy the files `samples` to <record>.usage, and with `netns` (or -1) what
 * the interfaces in there have counted. */
void record_usage(const char *record, char *const *samples, int netns);

#endif
