#!/bin/sh
# Make a 60-minute 720p clip (H.264 with B-frames, 2 frames a second, a key frame every 10 s) whose frames say
# their own number: 18 bars, lowest bit on the left, over a moving test pattern that gives the decoder real work.
#
#   scripts/make_long_clip.sh OUT.mp4 [SECONDS]
set -eu
out=${1:?usage: make_long_clip.sh OUT.mp4 [SECONDS]}
seconds=${2:-3600}
bars="geq=lum='255*mod(floor(N/pow(2,X)),2)':cb=128:cr=128"
ffmpeg -v error -y \
    -f lavfi -i "testsrc2=size=1280x720:rate=2:duration=$seconds" \
    -f lavfi -i "color=black:size=18x1:rate=2:duration=$seconds,format=yuv444p,$bars,scale=1152:64:flags=neighbor" \
    -filter_complex "[0][1]overlay=64:600:shortest=1,format=yuv420p" \
    -c:v libx264 -preset ultrafast -bf 2 -g 20 -crf 38 -movflags +faststart "$out"
