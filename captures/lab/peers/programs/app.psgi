use Time::HiRes 'sleep';
my ($s, $l) = ('s' x 300, 'l' x 300_000);
sub {
  my $path = $_[0]{PATH_INFO};
  if ($path =~ m{/(events|rows)}) {
    my ($n, $pause, $text, $type) =
      $1 eq 'events' ? (20, 0.15, "data: event\n\n", 'text/event-stream') : (30, 0.04, "{}\n", 'application/x-ndjson');
    return sub {
      my $out = $_[0]->([200, ['Content-Type' => $type]]);
      for (1 .. $n) { sleep $pause; $out->write($text) }
      $out->close;
    };
  }
  return [204, [], []] if $path eq '/empty';
  if ($path eq '/upload') { my $size = 0; while (my $got = $_[0]{'psgi.input'}->read(my $some, 8192)) { $size += $got } $s = $size }
  sleep 0.7 if $path eq '/late';
  my $body = $path eq '/large' ? $l : $s;
  return [200, ['Content-Type' => 'text/plain', 'Content-Length' => length $body], [$body]];
};
