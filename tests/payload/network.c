/* Verbs that talk to others, and say whom those saw.
 *
 * An address is a number, in IPv4 or IPv6; "::" stands for every address of
 * both. A server tells each client under which address and port it sees it:
 * so a test learns what became of a packet on its way, from the other end. */
#define _GNU_SOURCE

#include "payload.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 65536
#define DATAGRAM 1400	/* bytes of payload: no fragments in any tunnel */
#define FRAME 2048

static long
microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* A socket of "tcp" or "udp", with the address that belongs to it; ends the
 * program where the address is none, which is a test's mistake. */
static int
make_socket(const char *protocol, const char *address, const char *port,
	    struct sockaddr_storage *at, socklen_t *length)
{
	int type = protocol[0] == 't' ? SOCK_STREAM : SOCK_DGRAM;
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				  .ai_socktype = type };
	struct addrinfo *found;
	int fd, yes = 1, no = 0;

	if (getaddrinfo(address, port, &hints, &found) != 0) {
		fprintf(stderr, "payload: %s is no address\n", address);
		exit(2);
	}
	memcpy(at, found->ai_addr, found->ai_addrlen);
	*length = found->ai_addrlen;
	fd = socket(found->ai_family, type, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (found->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
	freeaddrinfo(found);
	return fd;
}

static int
listen_on(const char *protocol, const char *address, const char *port)
{
	struct sockaddr_storage at;
	socklen_t length;
	int fd = make_socket(protocol, address, port, &at, &length);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, length) < 0)
		return -1;
	if (protocol[0] == 't' && listen(fd, 64) < 0)
		return -1;
	return fd;
}

/* As it is: poll(2) with a deadline; the pending error of the socket is
 * errno. */
static int
await(int fd, short events, int timeout_ms)
{
	struct pollfd one = { .fd = fd, .events = events };
	int error = 0;
	socklen_t length = sizeof error;

	if (poll(&one, 1, timeout_ms) == 0) {
		errno = ETIMEDOUT;
		return -1;
	}
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
	errno = error;
	return error == 0 ? 0 : -1;
}

/* A connected socket, also of "udp". */
static int
connect_to(const char *protocol, const char *address, const char *port,
	   int timeout_ms)
{
	struct sockaddr_storage at;
	socklen_t length;
	int fd = make_socket(protocol, address, port, &at, &length);
	struct timeval patience = { .tv_sec = timeout_ms / 1000,
				    .tv_usec = timeout_ms % 1000 * 1000 };

	if (fd < 0)
		return -1;
	/* It bounds connect(2) too, which then says EINPROGRESS. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&at, length) < 0) {
		if (errno == EINPROGRESS)
			errno = ETIMEDOUT;
		return -1;
	}
	return fd;
}

/* "10.0.0.2 4321": IPv4 that came to a socket of both has its prefix off. */
static int
write_peer(char *text, size_t size, const struct sockaddr_storage *peer,
	   socklen_t length)
{
	char address[NI_MAXHOST], port[NI_MAXSERV];
	const char *shown = address;

	if (getnameinfo((const struct sockaddr *)peer, length, address,
			sizeof address, port, sizeof port,
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return 0;
	if (strncmp(address, "::ffff:", 7) == 0)
		shown += 7;
	return snprintf(text, size, "%s %s\n", shown, port);
}

static void
serve_connection(int fd, const struct sockaddr_storage *peer, socklen_t length)
{
	char block[BLOCK];
	ssize_t got = write_peer(block, sizeof block, peer, length);

	do {
		if (write(fd, block, (size_t)got) != got)
			break;
	} while ((got = read(fd, block, sizeof block)) > 0);
	_exit(0);
}

/* serve tcp|udp ADDRESS PORT: tell everyone who he is, and then whatever he
 * says. */
static int
do_serve(char **argv)
{
	int fd = listen_on(argv[0], argv[1], argv[2]);
	struct sockaddr_storage peer;
	socklen_t length;
	char text[FRAME];

	if (fd < 0)
		return say(-1);
	signal(SIGCHLD, SIG_IGN);
	say(0);
	fflush(stdout);
	for (;;) {
		length = sizeof peer;
		if (argv[0][0] == 't') {
			int one = accept(fd, (struct sockaddr *)&peer, &length);

			if (one >= 0 && fork() == 0)
				serve_connection(one, &peer, length);
			close(one);
		} else if (recvfrom(fd, text, sizeof text, 0,
				    (struct sockaddr *)&peer, &length) >= 0) {
			int size = write_peer(text, sizeof text, &peer, length);

			sendto(fd, text, (size_t)size, 0,
			       (struct sockaddr *)&peer, length);
		}
	}
}

/* ask tcp|udp ADDRESS PORT MILLISECONDS: as whom a server sees this process. */
static int
do_ask(char **argv)
{
	int timeout_ms = atoi(argv[3]);
	int fd = connect_to(argv[0], argv[1], argv[2], timeout_ms);
	char text[FRAME];
	ssize_t got;

	if (fd < 0)
		return say(-1);
	if (argv[0][0] == 'u' && write(fd, "?", 1) < 0)
		return say(-1);
	if (await(fd, POLLIN, timeout_ms) < 0)
		return say(-1);
	got = read(fd, text, sizeof text);
	if (got < 0)
		return say(-1);
	return fwrite(text, 1, (size_t)got, stdout) == (size_t)got ? 0 : 1;
}

/* talk ADDRESS PORT MILLISECONDS: over one TCP connection, a word and its echo
 * again and again; how many there were, and the longest wait for one in
 * milliseconds. */
static int
do_talk(char **argv)
{
	int fd = connect_to("tcp", argv[0], argv[1], 5000);
	long end = microseconds() + atol(argv[2]) * 1000;
	long longest = 0, count = 0;
	char text[FRAME];

	if (fd < 0 || await(fd, POLLIN, 5000) < 0 ||
	    read(fd, text, sizeof text) < 0)
		return say(-1);
	say(0);
	fflush(stdout);
	while (microseconds() < end) {
		long began = microseconds();

		if (write(fd, "word", 4) < 0 || await(fd, POLLIN, 10000) < 0 ||
		    read(fd, text, sizeof text) <= 0)
			return say(-1);
		if (microseconds() - began > longest)
			longest = microseconds() - began;
		count++;
		poll(NULL, 0, 2);
	}
	printf("%ld %ld\n", count, longest / 1000);
	return 0;
}

/* sink tcp|udp ADDRESS PORT MILLISECONDS: bytes that come in, and the
 * microseconds between the first and the last of them. It begins to count when
 * something is there, and leaves out the first half, in which a bucket may
 * still be full: that of a limit of nftables has one second's worth. */
static int
do_sink(char **argv)
{
	int fd = listen_on(argv[0], argv[1], argv[2]);
	long span = atol(argv[3]) * 1000, bytes = 0, first = 0, last, begin;
	static char block[BLOCK];

	if (fd < 0)
		return say(-1);
	say(0);
	fflush(stdout);
	if (argv[0][0] == 't' && (fd = accept(fd, NULL, NULL)) < 0)
		return say(-1);
	if (await(fd, POLLIN, 20000) < 0)
		return say(-1);
	begin = last = microseconds();
	while (await(fd, POLLIN, 500) == 0) {
		ssize_t got = recv(fd, block, sizeof block, 0);

		last = microseconds();
		if (got <= 0 || last - begin > span)
			break;
		if (last - begin < span / 2)
			continue;
		if (first == 0)
			first = last;
		else
			bytes += got;
	}
	printf("%ld %ld\n", bytes, last - first);
	return 0;
}

/* flood tcp|udp ADDRESS PORT MEGABITS MILLISECONDS: send so much a second, or
 * as much as goes where MEGABITS is 0. */
static int
do_flood(char **argv)
{
	size_t size = argv[0][0] == 't' ? BLOCK : DATAGRAM;
	long bits_per_us = atol(argv[3]), begin, end, sent = 0;
	int fd = connect_to(argv[0], argv[1], argv[2], 5000);
	static char block[BLOCK];

	if (fd < 0)
		return say(-1);
	signal(SIGPIPE, SIG_IGN);
	begin = microseconds();
	end = begin + atol(argv[4]) * 1000;
	while (microseconds() < end) {
		if (bits_per_us > 0 &&
		    sent * 8 / bits_per_us > microseconds() - begin) {
			poll(NULL, 0, 1);
			continue;
		}
		ssize_t done = write(fd, block, size);

		if (done < 0 && (errno == EPIPE || errno == ECONNRESET))
			break;	/* the other end has counted enough */
		if (done > 0)
			sent += done;
	}
	printf("%ld\n", sent);
	return 0;
}

/* --- layer 2 -------------------------------------------------------------- */

static int
packet_socket(const char *interface)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL) };
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	at.sll_ifindex = (int)if_nametoindex(interface);
	if (fd < 0 || at.sll_ifindex == 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof at) < 0)
		return -1;
	return fd;
}

/* frame INTERFACE HEX: send one, whatever is in it. */
static int
do_frame(char **argv)
{
	int fd = packet_socket(argv[0]);
	unsigned char frame[FRAME];
	unsigned size = 0;

	while (size < FRAME &&
	       sscanf(argv[1] + size * 2, "%2hhx", &frame[size]) == 1)
		size++;
	return say(fd < 0 ? -1 : send(fd, frame, size, 0));
}

/* frames INTERFACE: every frame that comes in, one a line in hexadecimal, for
 * ever. */
static int
do_frames(char **argv)
{
	int fd = packet_socket(argv[0]);
	unsigned char frame[FRAME];
	struct sockaddr_ll from;
	socklen_t length = sizeof from;
	ssize_t got;

	if (fd < 0)
		return say(-1);
	say(0);
	fflush(stdout);
	while ((got = recvfrom(fd, frame, sizeof frame, 0,
			       (struct sockaddr *)&from, &length)) > 0) {
		length = sizeof from;
		if (from.sll_pkttype == PACKET_OUTGOING)
			continue;
		for (ssize_t at = 0; at < got; at++)
			printf("%02x", frame[at]);
		puts("");
		fflush(stdout);
	}
	return 0;
}

const struct verb NETWORK_VERBS[] = {
	{ "ask", 4, do_ask },
	{ "flood", 5, do_flood },
	{ "frame", 2, do_frame },
	{ "frames", 1, do_frames },
	{ "serve", 3, do_serve },
	{ "sink", 4, do_sink },
	{ "talk", 3, do_talk },
};

const unsigned NETWORK_VERB_COUNT =
	sizeof NETWORK_VERBS / sizeof *NETWORK_VERBS;
