/* Steps on credentials: who the payload is, and what it may do.
 *
 * The system calls themselves, as libc's setresuid(3) and setgroups(3) carry
 * the change to every thread by signals; here is but one. */
#define _GNU_SOURCE

#include "launcher.h"

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#define GROUPS_MAX 65536	/* the kernel's, since Linux 2.6.4 */

int
do_setgroups(const struct arg_setgroups *arg, UNUSED struct state *st)
{
	static uint32_t groups[GROUPS_MAX];
	size_t count = 0;

	for (char *const *text = arg->groups; *text != NULL; text++)
		if (count == GROUPS_MAX ||
		    text_number(*text, &groups[count++]) < 0)
			return -EINVAL;
	return outcome(syscall(SYS_setgroups, count, groups));
}

int
do_setresgid(const struct arg_setresgid *arg, UNUSED struct state *st)
{
	return outcome(syscall(SYS_setresgid, arg->gid, arg->gid, arg->gid));
}

int
do_setresuid(const struct arg_setresuid *arg, UNUSED struct state *st)
{
	return outcome(syscall(SYS_setresuid, arg->uid, arg->uid, arg->uid));
}

/* The one that fails is looked at: it may be one that is gone already, or one
 * beyond the last that this kernel knows. */
int
do_drop_bounding(const struct arg_drop_bounding *arg, UNUSED struct state *st)
{
	int error, has;

	for (int cap = 0; cap < 64; cap++) {
		if (((uint64_t)arg->keep >> cap & 1) != 0)
			continue;
		error = outcome(prctl(PR_CAPBSET_DROP, cap));
		if (error >= 0)
			continue;
		has = prctl(PR_CAPBSET_READ, cap);
		if (has < 0)
			break;
		if (has > 0)
			return error;
	}
	return 0;
}

int
do_keep_caps(UNUSED const struct arg_keep_caps *arg, UNUSED struct state *st)
{
	return outcome(prctl(PR_SET_KEEPCAPS, 1));
}

int
do_capset(const struct arg_capset *arg, UNUSED struct state *st)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];

	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		sets[i].effective = (uint32_t)(arg->effective >> 32 * i);
		sets[i].permitted = (uint32_t)(arg->permitted >> 32 * i);
		sets[i].inheritable = (uint32_t)(arg->inheritable >> 32 * i);
	}
	return outcome(syscall(SYS_capset, &head, sets));
}

/* PR_CAP_AMBIENT(2const), since Linux 4.3. */
int
do_ambient(const struct arg_ambient *arg, UNUSED struct state *st)
{
	for (int cap = 0; cap < 64; cap++)
		if (((uint64_t)arg->mask >> cap & 1) != 0 &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return -errno;
	return 0;
}

int
do_no_new_privs(UNUSED const struct arg_no_new_privs *arg,
		UNUSED struct state *st)
{
	return outcome(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

/* seccomp(2). Whatever exec needs besides itself is done first: the filter may
 * forbid it. */
int
do_load_seccomp(const struct arg_load_seccomp *arg, struct state *st)
{
	struct sock_fprog program = {
		.len = (unsigned short)(arg->filter->size /
					sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)(uintptr_t)arg->filter->bytes,
	};

	if (arg->filter->size % sizeof(struct sock_filter) != 0 ||
	    arg->filter->size / sizeof(struct sock_filter) > BPF_MAXINSNS)
		return -EINVAL;
	prepare_exec(st);
	return outcome(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0,
			       &program));
}
