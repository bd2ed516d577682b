/* The step on devices: which of them a cgroup of v2 lets its processes use.
 * In v1 that is a file of the devices controller; here it is a program. */
#define _GNU_SOURCE

#include "launcher.h"

#include <linux/bpf.h>
#include <string.h>

#define PROGRAMS_MAX 64	/* as many as a cgroup takes (BPF_CGROUP_MAX_PROGS) */

static int
sys_bpf(int command, union bpf_attr *attr)
{
	return outcome(syscall(SYS_bpf, command, attr, sizeof *attr));
}

/* The programs of this very cgroup, not those that it inherits: how many, and
 * their ids. BPF_PROG_QUERY, since Linux 4.15. */
static int
find_attached(int dir, uint32_t ids[PROGRAMS_MAX])
{
	union bpf_attr attr;
	int error;

	memset(&attr, 0, sizeof attr);
	attr.query.target_fd = (uint32_t)dir;
	attr.query.attach_type = BPF_CGROUP_DEVICE;
	attr.query.prog_ids = (uintptr_t)ids;
	attr.query.prog_cnt = PROGRAMS_MAX;
	error = sys_bpf(BPF_PROG_QUERY, &attr);
	return error < 0 ? error : (int)attr.query.prog_cnt;
}

/* BPF_PROG_LOAD, since Linux 4.15 for this type. A program that the verifier
 * refuses is -EINVAL or -EACCES: what it says about it, a test can see. */
static int
load(const struct blob *program)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uintptr_t)program->bytes;
	attr.insn_cnt = program->size / (uint32_t)sizeof(struct bpf_insn);
	attr.license = (uintptr_t)"Apache-2.0";
	memcpy(attr.prog_name, "cloison_devices", sizeof "cloison_devices");
	return sys_bpf(BPF_PROG_LOAD, &attr);
}

/* BPF_F_ALLOW_MULTI: of several programs all have to agree, so that one which
 * systemd inside attaches below can take away and never give. */
static int
attach(int dir, int program)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.target_fd = (uint32_t)dir;
	attr.attach_bpf_fd = (uint32_t)program;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	return sys_bpf(BPF_PROG_ATTACH, &attr);
}

static int
detach(int dir, uint32_t id)
{
	union bpf_attr attr;
	int program, error;

	memset(&attr, 0, sizeof attr);
	attr.prog_id = id;
	program = sys_bpf(BPF_PROG_GET_FD_BY_ID, &attr);
	if (program < 0)
		return program;
	memset(&attr, 0, sizeof attr);
	attr.target_fd = (uint32_t)dir;
	attr.attach_bpf_fd = (uint32_t)program;
	attr.attach_type = BPF_CGROUP_DEVICE;
	error = sys_bpf(BPF_PROG_DETACH, &attr);
	close(program);
	return error;
}

/* First the new one, then the old ones go: at no moment is there none. In
 * between all of them have to agree, which denies more and not less. */
static int
replace(int dir, const struct blob *fresh)
{
	static uint32_t ids[PROGRAMS_MAX];
	int program, count = find_attached(dir, ids);
	int error = count;

	if (count >= 0 && fresh->size > 0) {
		program = load(fresh);
		if (program < 0)
			return program;
		error = attach(dir, program);
		close(program);	/* the cgroup keeps it */
	}
	for (int i = 0; error >= 0 && i < count; i++)
		error = detach(dir, ids[i]);
	return error;
}

int
do_device_filter(const struct arg_device_filter *arg, UNUSED struct state *st)
{
	int dir, error;

	if (arg->program->size % sizeof(struct bpf_insn) != 0)
		return -EINVAL;
	dir = sys_open(arg->path, O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		return dir;
	error = replace(dir, arg->program);
	close(dir);
	return error;
}
