"""Image captioning: a ResNet encoder and an LSTM decoder, judged by corpus BLEU."""
