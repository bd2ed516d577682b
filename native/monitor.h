/* The monitor, and the console that it keeps. */
#ifndef CLOISON_MONITOR_H
#define CLOISON_MONITOR_H

#include "launcher.h"

/* The most that is read from, or written to, a terminal at once. */
#define CHUNK 4096

/* --- monitor.c ----------------------------------------------------------- */

/* Serve until init has ended. Any of the descriptors but its pidfd may be -1;
 * the console is that of console_open. */
void monitor_watch(pid_t pid, int pidfd, int listener, int console);
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

#endif
