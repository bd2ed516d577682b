/* Paths inside a root directory that somebody else has filled.
 *
 * A guest's image may hold symbolic links that lead anywhere, and a running
 * guest may change them under our feet (CVE-2015-1335, CVE-2021-30465). So
 * the kernel resolves, with the guest's root as "/", and what it found is used
 * as a descriptor and never by name again. */
#define _GNU_SOURCE

#include "launcher.h"

#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* openat2(2): with a ".." in the path the kernel gives up with EAGAIN where
 * anything in the system was renamed or mounted meanwhile, and leaves it to us
 * to try again. A hundred containers that start at once do that. */
#define RESOLVE_TRIES 128

static int
resolve(int root, const char *path)
{
	uint64_t how = root == AT_FDCWD ? 0
				: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
	int fd, tries = RESOLVE_TRIES;

	do
		fd = sys_openat2(root, *path == '\0' ? "." : path, O_PATH, how);
	while (fd == -EAGAIN && --tries > 0);
	return fd;
}

/* Make `name` in the directory `parent`, and open just that: a link that
 * somebody puts in its place, or that dangled there, is ELOOP. */
static int
make(int parent, const char *name, enum create create, mode_t mode)
{
	int fd;

	if (create == CREATE_DIRECTORY) {
		if (mkdirat(parent, name, mode) < 0 && errno != EEXIST)
			return -errno;
	} else {
		fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL |
			    O_NOFOLLOW | O_CLOEXEC, mode);
		if (fd < 0 && errno != EEXIST)
			return -errno;
		if (fd >= 0)
			close(fd);
	}
	return sys_openat2(parent, name, O_PATH,
			   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

/* The longest prefix of `path` that exists, as a descriptor; *end is where it
 * ends. Prefixes are resolved from the root, so that links in them mean what
 * they mean inside. */
static int
open_prefix(int root, char *path, char **end)
{
	char *cut = *end;
	int fd = -ENOENT;

	while (fd == -ENOENT && cut > path) {
		while (cut > path && *--cut != '/')
			continue;
		if (cut == path) {
			fd = resolve(root, *path == '/' ? "/" : ".");
			break;
		}
		*cut = '\0';
		fd = resolve(root, path);
		*cut = '/';
	}
	*end = cut;
	return fd;
}

/* Up to what exists, and down again, making what is missing. */
static int
make_path(int root, char *path, enum create create, mode_t mode)
{
	char *part, *end = path + strlen(path);
	int below, fd = open_prefix(root, path, &end);
	bool last = false;

	while (fd >= 0 && !last) {
		part = end + strspn(end, "/");
		end = strchrnul(part, '/');
		last = *end == '\0';
		*end = '\0';
		below = make(fd, part, last ? create : CREATE_DIRECTORY,
			     last ? mode : 0755);
		if (!last)
			*end = '/';
		close(fd);
		fd = below;
	}
	return fd;
}

int
open_in_root(int root, const char *path, enum create create, mode_t mode)
{
	static char cut[PATH_MAX];
	size_t length;
	int fd = resolve(root, path);

	if (fd != -ENOENT || create == CREATE_NOTHING)
		return fd;
	if (JOIN(cut, path) < 0)
		return -ENAMETOOLONG;
	for (length = strlen(cut); length > 1 && cut[length - 1] == '/'; )
		cut[--length] = '\0';
	return make_path(root, cut, create, mode);
}

int
open_procfs(int proc, const char *path)
{
	struct statfs seen;
	int fd = sys_openat2(proc, path, O_WRONLY,
			     RESOLVE_BENEATH | RESOLVE_NO_XDEV |
			     RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);

	if (fd < 0)
		return fd;
	if (fstatfs(fd, &seen) == 0 && seen.f_type == PROC_SUPER_MAGIC)
		return fd;
	close(fd);
	return -EXDEV;
}
