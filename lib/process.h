/*
 * process.h - whether a process is there, and is the one that was meant.
 *
 * A pid alone is given to another process sooner or later; a pid, the time
 * its process started and the boot are not.
 */
#ifndef PROCESS_H
#define PROCESS_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROCESS_BOOT_SIZE 37	/* a UUID in text and a NUL */

/* In clock ticks since the boot; 0 when there is no such process or /proc. */
uint64_t process_start(pid_t pid);

/*
 * A process of another user is alive, a zombie is not.  start: as
 * process_start() once said, or 0 when that was not kept.  What cannot be
 * found out counts as alive.
 */
bool process_is_alive(pid_t pid, uint64_t start);

/* A descriptor that polls readable when it ends; -1 when there are none. */
int process_watch(pid_t pid);

/* Every signal as it is by default, and none blocked: before an exec. */
void process_default_signals(void);

/*
 * Blocks TERM, INT, HUP and CHLD: a descriptor that tells of them
 * (signalfd(2)), or -1 with errno.
 */
int process_signals(void);

/* This boot's id, or "" when it cannot be read. */
void process_boot(char out[static PROCESS_BOOT_SIZE]);

/*
 * Its command line, printable ASCII only ('?' for the rest), cut to size;
 * "" when it cannot be read.
 */
void process_command(pid_t pid, char *out, size_t size);

/* The same of an argument vector; argv ends with NULL. */
void process_join(char *const argv[], char *out, size_t size);

#endif
