# POSTs with Perl's HTTP::Tiny, which writes head and body apart: tiny_post.pl URL COUNT BYTES
use strict;
use warnings;
use HTTP::Tiny;

my ($url, $count, $bytes) = @ARGV;
my $client = HTTP::Tiny->new(keep_alive => 1, timeout => 20);
for my $number (1 .. $count) {
    my $response = $client->post("$url/$number", { content => "p" x $bytes });
    die "$response->{status} $response->{content}" unless $response->{success};
    select undef, undef, undef, 0.01;
}
